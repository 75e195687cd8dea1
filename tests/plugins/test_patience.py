"""How long a silent deployment is waited for, and what that is learned from."""

from __future__ import annotations

import pytest
from support.values import a_deployment, a_failure, a_request, an_attempt

from llmgate_plugins.decisions import Skip
from llmgate_plugins.limits import Limits
from llmgate_plugins.plugins import Patience
from llmgate_plugins.types import Deployment, ErrorClass, Outcome, Request, Scope

A = a_deployment("a")
STREAM, WHOLE = a_request(stream=True), a_request()


def seen(plugin: Patience, *waits: float, deployment: Deployment = A, request: Request = STREAM) -> None:
    for wait in waits:
        outcome = Outcome(status="success", first_token=wait, latency=wait + 5)
        plugin.end_attempt(an_attempt(deployment), outcome, request)


def timed_out(plugin: Patience, after: float, scope: Scope = Scope.DEPLOYMENT) -> None:
    failure = a_failure(ErrorClass.TIMEOUT, scope=scope)
    plugin.end_attempt(an_attempt(A), Outcome(status="error", failure=failure, latency=after), STREAM)


def first_token(plugin: Patience, alternatives: int = 1, deployment: Deployment = A) -> float | None:
    return plugin.limit_attempt(deployment, alternatives, STREAM).first_token


def test_patience_is_short_with_an_alternative_and_long_without() -> None:
    assert first_token(Patience()) == 30
    assert first_token(Patience(), alternatives=0) == 300
    assert Patience().limit_attempt(A, 0, WHOLE).first_token is None


def test_a_quick_model_is_waited_for_the_shortest_time() -> None:
    plugin = Patience()
    seen(plugin, *[0.5] * 40)
    assert first_token(plugin) == 10


def test_a_model_that_takes_long_is_given_the_time_it_takes() -> None:
    plugin = Patience()
    seen(plugin, *[40.0, 60.0] * 20)
    patience = first_token(plugin)
    assert patience is not None
    assert 60 < patience < 150


def test_a_model_that_grows_slower_little_by_little_is_given_more_time_all_along() -> None:
    plugin, wait = Patience(), 10.0
    seen(plugin, *[wait] * 300)
    assert first_token(plugin) == pytest.approx(10.0, rel=0.11)
    for _ in range(200):
        wait *= 1.01
        seen(plugin, wait)
        patience = first_token(plugin)
        assert patience is not None
        assert patience > 0.9 * wait
    assert wait > 70


def test_a_time_out_makes_patience_grow_until_the_model_is_heard() -> None:
    plugin = Patience()
    timed_out(plugin, 30)
    after_one = first_token(plugin)
    timed_out(plugin, after_one or 0)
    after_two = first_token(plugin)
    assert after_one is not None
    assert after_two is not None
    assert 30 < after_one < after_two <= 300


def test_the_callers_own_deadline_teaches_nothing() -> None:
    plugin = Patience()
    timed_out(plugin, 1, scope=Scope.CALLER)
    assert first_token(plugin) == 30


def test_models_learn_apart_and_siblings_together() -> None:
    plugin = Patience()
    sibling, other = a_deployment("b", model="m-a"), a_deployment("c")
    seen(plugin, *[100.0] * 20)
    assert first_token(plugin, deployment=sibling) == first_token(plugin) != 30
    assert first_token(plugin, deployment=other) == 30


def test_a_model_that_thinks_is_given_time_for_it() -> None:
    thinker = a_deployment("t", capabilities=frozenset({"reasoning"}))
    limits = Patience().limit_attempt(thinker, 1, STREAM)
    assert (limits.first_token, limits.gap) == (120, 120)
    asked = a_request(stream=True, params={"reasoning_effort": "high"})
    assert Patience().limit_attempt(A, 1, asked).first_token == 120
    spared = a_request(stream=True, params={"reasoning_effort": "none"})
    assert Patience().limit_attempt(A, 1, spared).first_token == 30


def test_a_whole_answer_may_take_longer_than_a_first_token() -> None:
    plugin = Patience()
    assert plugin.limit_attempt(A, 1, WHOLE) == Limits(connect=5, first_token=120, gap=20)
    for _ in range(30):
        plugin.end_attempt(an_attempt(A), Outcome(status="success", latency=200.0), WHOLE)
    assert (plugin.limit_attempt(A, 1, WHOLE).first_token or 0) >= 200


def test_nobody_is_hedged_unless_asked_for() -> None:
    plugin = Patience()
    seen(plugin, *[1.0] * 64)
    assert plugin.limit_attempt(A, 1, STREAM).hedge_after is None


def test_hedging_waits_for_what_one_of_twenty_exceeds_once_that_is_known() -> None:
    plugin = Patience(hedge=0.05)
    seen(plugin, *[1.0] * 19)
    assert plugin.limit_attempt(A, 1, STREAM).hedge_after is None
    seen(plugin, *[float(n) for n in range(1, 65)])
    assert plugin.limit_attempt(A, 1, STREAM).hedge_after == 61
    assert plugin.limit_attempt(A, 0, STREAM).hedge_after is None


def test_hedges_stay_a_small_share_of_calls() -> None:
    plugin = Patience(hedge=0.05)
    hedge = an_attempt(A, reason="hedge")
    granted = 0
    for _ in range(1_000):
        plugin.begin_attempt(an_attempt(A))
        granted += plugin.begin_attempt(hedge) is None
    assert 45 <= granted <= 51
    assert plugin.begin_attempt(hedge) == Skip("hedge_budget")


@pytest.mark.parametrize(
    "arguments", [{"connect": 0}, {"gap": -1}, {"hedge": 2}, {"shortest": 20, "longest": 10}, {"whole": "1"}]
)
def test_what_makes_no_sense_is_refused_by_name(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="|".join(arguments)):
        Patience(**arguments)
