"""What the failover plugin decides about each failure, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import Tries, a_deployment, an_error

from llmgate_plugins.decisions import GiveUp, NextAlias, NextDeployment, Recovery, Retry
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.plugins import Failover
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types import Deployment, Endpoint, ErrorClass, Outcome, Scope

A, B, C = a_deployment("a"), a_deployment("b"), a_deployment("c")

TRANSIENT = [
    ErrorClass.RATE_LIMIT,
    ErrorClass.TIMEOUT,
    ErrorClass.CONNECTION,
    ErrorClass.OVERLOADED,
    ErrorClass.SERVER,
    ErrorClass.BAD_RESPONSE,
    ErrorClass.TRUNCATED,
]
CALLERS = [ErrorClass.INVALID_REQUEST, ErrorClass.CONTENT_POLICY, ErrorClass.TOO_LARGE, ErrorClass.LOCAL]
NEVER_AGAIN = [
    ErrorClass.QUOTA,
    ErrorClass.AUTHENTICATION,
    ErrorClass.PERMISSION,
    ErrorClass.REGION,
    ErrorClass.MODEL_NOT_FOUND,
    ErrorClass.UNKNOWN,
]
SURVIVABLE = [*NEVER_AGAIN, *TRANSIENT]


def decide(
    plugin: Failover,
    tries: Tries,
    deployment: Deployment,
    outcome: Outcome,
    untried: tuple[Deployment, ...] = (),
    fallbacks: tuple[str, ...] = (),
) -> Recovery | None:
    attempt, outcome = tries.fail(deployment, outcome)
    request = tries.call.request
    return plugin.recover_attempt(attempt, outcome, untried, fallbacks, request, tries.call, tries.services)


def keyed(key: str) -> Endpoint:
    return Endpoint(api_key=Secret(key))


def after(decision: Recovery | None) -> float:
    assert isinstance(decision, Retry)
    return decision.after


@pytest.mark.parametrize("error_class", CALLERS)
def test_the_callers_own_fault_goes_back_at_once(error_class: ErrorClass) -> None:
    assert decide(Failover(), Tries(), A, an_error(error_class), (B,), ("strong",)) == GiveUp()


@pytest.mark.parametrize("error_class", SURVIVABLE)
def test_an_untried_sibling_is_tried_at_once(error_class: ErrorClass) -> None:
    assert decide(Failover(), Tries(), A, an_error(error_class), (B,)) == NextDeployment()


def test_all_siblings_are_tried_even_beyond_the_most_attempts() -> None:
    tries, plugin = Tries(), Failover(max_attempts=1)
    assert decide(plugin, tries, A, an_error(ErrorClass.SERVER), (B, C)) == NextDeployment()
    assert decide(plugin, tries, B, an_error(ErrorClass.SERVER), (C,)) == NextDeployment()
    assert decide(plugin, tries, C, an_error(ErrorClass.SERVER)) == GiveUp()


def test_of_very_many_siblings_a_call_tries_some() -> None:
    tries, plugin = Tries(), Failover(max_attempts=1, max_deployments=2)
    assert decide(plugin, tries, A, an_error(ErrorClass.SERVER), (B, C)) == NextDeployment()
    assert decide(plugin, tries, B, an_error(ErrorClass.SERVER), (C,)) == GiveUp()


@pytest.mark.parametrize("error_class", NEVER_AGAIN)
def test_what_time_does_not_mend_is_not_retried(error_class: ErrorClass) -> None:
    assert decide(Failover(), Tries(), A, an_error(error_class)) == GiveUp()
    assert decide(Failover(), Tries(), A, an_error(error_class), (), ("strong",)) == NextAlias()


@pytest.mark.parametrize("error_class", TRANSIENT)
def test_a_passing_failure_is_retried_until_the_attempts_are_used_up(error_class: ErrorClass) -> None:
    tries, plugin = Tries(), Failover(max_attempts=3)
    for _ in range(2):
        decision = decide(plugin, tries, A, an_error(error_class))
        assert isinstance(decision, Retry)
        assert decision.on == "a"
    assert decide(plugin, tries, A, an_error(error_class)) == GiveUp()


def test_a_request_refused_by_one_client_may_suit_another() -> None:
    refused = an_error(ErrorClass.LOCAL, TypeError("seed"), scope=Scope.REQUEST)
    assert decide(Failover(), Tries(), A, refused, (B,)) == NextDeployment()
    assert decide(Failover(), Tries(), A, refused) == GiveUp()


def test_a_request_too_large_for_one_quota_may_fit_another() -> None:
    outcome = an_error(ErrorClass.TOO_LARGE, scope=Scope.MODEL)
    assert decide(Failover(), Tries(), A, outcome, (B,)) == NextDeployment()
    assert decide(Failover(), Tries(), A, outcome) == GiveUp()


def test_the_callers_deadline_or_denial_is_no_reason_to_go_on() -> None:
    outcome = an_error(ErrorClass.TIMEOUT, scope=Scope.CALLER)
    assert decide(Failover(), Tries(), A, outcome, (B,)) == GiveUp()


def test_before_a_fallback_there_is_one_quick_retry() -> None:
    tries, plugin = Tries(), Failover()
    first = decide(plugin, tries, A, an_error(ErrorClass.SERVER), (), ("strong",))
    assert 0 <= after(first) <= 0.5
    assert decide(plugin, tries, A, an_error(ErrorClass.SERVER), (), ("strong",)) == NextAlias()


def test_before_a_fallback_a_short_retry_after_is_waited_out_and_a_long_one_is_not() -> None:
    short = an_error(ErrorClass.RATE_LIMIT, retry_after=4.0)
    assert 4.0 <= after(decide(Failover(), Tries(), A, short, (), ("strong",))) <= 4.4
    long = an_error(ErrorClass.RATE_LIMIT, retry_after=6.0)
    assert decide(Failover(), Tries(), A, long, (), ("strong",)) == NextAlias()


def test_without_a_fallback_a_long_retry_after_is_waited_out_if_it_fits() -> None:
    long = an_error(ErrorClass.RATE_LIMIT, retry_after=100.0)
    assert 100.0 <= after(decide(Failover(), Tries(deadline=200), A, long)) <= 110.0
    assert decide(Failover(), Tries(deadline=90), A, long) == GiveUp()


def test_time_that_passed_since_the_failure_counts_towards_retry_after() -> None:
    tries, plugin = Tries(), Failover()
    decide(plugin, tries, A, an_error(ErrorClass.RATE_LIMIT, retry_after=10.0), (B,))
    tries.services.clock.advance(8.0)  # type: ignore[attr-defined]
    decision = decide(plugin, tries, B, an_error(ErrorClass.AUTHENTICATION))
    assert isinstance(decision, Retry)
    assert decision.on == "a"
    assert 2.0 <= decision.after <= 2.2


def test_the_one_that_is_free_soonest_is_retried() -> None:
    tries, plugin = Tries(), Failover()
    decide(plugin, tries, A, an_error(ErrorClass.RATE_LIMIT, retry_after=9.0), (B,))
    decision = decide(plugin, tries, B, an_error(ErrorClass.RATE_LIMIT, retry_after=2.0))
    assert isinstance(decision, Retry)
    assert decision.on == "b"


def test_among_equals_the_preferred_one_is_retried_and_then_the_other() -> None:
    tries, plugin = Tries(), Failover(max_attempts=4)
    decide(plugin, tries, A, an_error(ErrorClass.SERVER), (B,))
    one = decide(plugin, tries, B, an_error(ErrorClass.SERVER))
    other = decide(plugin, tries, A, an_error(ErrorClass.SERVER))
    assert isinstance(one, Retry)
    assert isinstance(other, Retry)
    assert (one.on, other.on) == ("a", "b")


def test_a_silent_deployment_is_not_asked_twice_while_there_is_another_way() -> None:
    tries, plugin = Tries(), Failover()
    decide(plugin, tries, A, an_error(ErrorClass.TIMEOUT), (B,))
    decision = decide(plugin, tries, B, an_error(ErrorClass.RATE_LIMIT, retry_after=3.0))
    assert isinstance(decision, Retry)
    assert decision.on == "b"
    assert decide(plugin, Tries(), A, an_error(ErrorClass.TIMEOUT), (), ("strong",)) == NextAlias()
    assert isinstance(decide(plugin, Tries(), A, an_error(ErrorClass.TIMEOUT)), Retry)


def test_a_provider_that_asks_not_to_be_retried_is_obeyed() -> None:
    error = ProviderError("m", status=500, headers={"x-should-retry": "false"})
    assert decide(Failover(), Tries(), A, an_error(ErrorClass.SERVER, error)) == GiveUp()


def test_a_provider_that_asks_to_be_retried_is_obeyed_once_more() -> None:
    error = ProviderError("m", status=400, headers={"x-should-retry": "true"})
    outcome = an_error(ErrorClass.INVALID_REQUEST, error)
    assert decide(Failover(), Tries(), A, outcome) == Retry(
        after(decide(Failover(), Tries(), A, outcome)), "a"
    )


def test_a_faulty_key_sends_the_call_to_another_key() -> None:
    one, same, other = (
        a_deployment(id, endpoint=keyed(key)) for id, key in (("1", "k"), ("2", "k"), ("3", "l"))
    )
    outcome = an_error(ErrorClass.QUOTA)
    assert decide(Failover(), Tries(), one, outcome, (same, other)) == NextDeployment(
        among=frozenset({other.id})
    )
    assert decide(Failover(), Tries(), one, outcome, (same,)) == GiveUp()
    assert decide(Failover(), Tries(), one, outcome, (same,), ("strong",)) == NextAlias()


def test_an_overloaded_provider_is_left_for_another() -> None:
    outcome = an_error(ErrorClass.OVERLOADED, scope=Scope.PROVIDER)
    elsewhere = a_deployment("d", provider="q")
    assert decide(Failover(), Tries(), A, outcome, (B, elsewhere)) == NextDeployment(among=frozenset({"d"}))
    assert decide(Failover(), Tries(), A, outcome, (B, C)) == NextDeployment()


def test_a_context_overflow_goes_only_where_there_is_room() -> None:
    small, same, large = (
        a_deployment(id, context_window=n) for id, n in zip("abc", (100, 100, 900), strict=True)
    )
    outcome = an_error(ErrorClass.CONTEXT_LENGTH)
    assert decide(Failover(), Tries(), small, outcome, (same, large)) == NextDeployment(among=frozenset("c"))
    assert decide(Failover(), Tries(), small, outcome, (same,)) == GiveUp()
    plugin = Failover(context_window={"fast": ["wide"]})
    assert decide(plugin, Tries(), small, outcome, (same,), ("strong",)) == NextAlias(("wide",))


def test_a_refusal_of_the_content_goes_only_where_the_policy_allows_it() -> None:
    outcome = an_error(ErrorClass.CONTENT_POLICY)
    plugin = Failover(content_policy={"fast": ["lenient"]})
    assert decide(plugin, Tries(), A, outcome, (B,), ("strong",)) == NextAlias(("lenient",))
    assert decide(plugin, Tries(), a_deployment("x", alias="slow"), outcome, (B,), ("strong",)) == GiveUp()


def test_an_empty_answer_is_tried_once_elsewhere_and_never_again() -> None:
    tries, outcome = Tries(), an_error(ErrorClass.EMPTY_RESPONSE)
    assert decide(Failover(), tries, A, outcome, (B, C)) == NextDeployment()
    assert decide(Failover(), tries, B, outcome, (C,), ("strong",)) == GiveUp()
    assert decide(Failover(), Tries(), A, outcome) == GiveUp()


def test_a_connection_gone_stale_is_opened_again_at_once_and_once() -> None:
    tries, plugin = Tries(), Failover()
    stale = an_error(ErrorClass.CONNECTION, code="stale_connection")
    assert decide(plugin, tries, A, stale, (B,)) == Retry(on="a")
    assert decide(plugin, tries, A, stale, (B,)) == NextDeployment()


def test_a_conflict_is_asked_again_where_it_arose() -> None:
    assert isinstance(decide(Failover(), Tries(), A, an_error(ErrorClass.CONFLICT), (B,)), Retry)


def test_attempts_under_another_alias_do_not_count() -> None:
    tries, plugin = Tries(), Failover(max_attempts=2)
    for _ in range(3):
        tries.fail(a_deployment("x", alias="slow"), an_error(ErrorClass.SERVER))
    assert isinstance(decide(plugin, tries, A, an_error(ErrorClass.SERVER)), Retry)


def test_a_policy_can_bound_the_attempts_of_a_call() -> None:
    tries, plugin = Tries(), Failover()
    tries.call.stash[MOST_ATTEMPTS] = 2
    assert decide(plugin, tries, A, an_error(ErrorClass.SERVER), (B, C), ("strong",)) == NextDeployment()
    assert decide(plugin, tries, B, an_error(ErrorClass.SERVER), (C,), ("strong",)) == GiveUp()


def test_a_skipped_attempt_is_no_attempt() -> None:
    tries, plugin = Tries(), Failover(max_attempts=2)
    tries.fail(B, Outcome(status="skipped", skipped="rpm"))
    assert isinstance(decide(plugin, tries, A, an_error(ErrorClass.SERVER)), Retry)


@given(
    retries=st.integers(0, 6),
    throttled=st.booleans(),
    seed=st.integers(0, 2**32),
    remaining=st.floats(0.01, 100),
    wait=st.none() | st.floats(0.01, 200),
    delays=st.tuples(st.floats(0.01, 2), st.floats(2, 30)),
)
def test_delays_are_within_bounds_and_inside_the_deadline(
    retries: int,
    throttled: bool,
    seed: int,
    remaining: float,
    wait: float | None,
    delays: tuple[float, float],
) -> None:
    base, cap = delays
    plugin = Failover(max_attempts=10, base=base, cap=cap, throttle_base=base, throttle_cap=cap)
    tries = Tries(deadline=remaining, seed=seed)
    error_class = ErrorClass.RATE_LIMIT if throttled else ErrorClass.SERVER
    for _ in range(retries):
        tries.fail(A, an_error(error_class))
    decision = decide(plugin, tries, A, an_error(error_class, retry_after=wait))
    if isinstance(decision, Retry):
        assert 0 <= decision.after < remaining
        assert decision.after >= (wait or 0)
        assert decision.after <= max(min(cap, base * 2**retries), (wait or 0) * 1.1)
    else:
        assert decision == GiveUp()
        assert max(min(cap, base * 2**retries), (wait or 0) * 1.1) >= remaining


def test_jitter_is_full_and_drawn_for_each_call() -> None:
    def delays(seed: int) -> list[float]:
        tries = Tries(seed=seed)
        return [after(decide(Failover(100), tries, A, an_error(ErrorClass.SERVER))) for _ in range(60)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)
    late = sorted(delays(1)[5:])
    assert late[0] < 1.0
    assert 7.0 < late[-1] <= 8.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_deployments": 0}, "max_deployments"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"base": -1}, "base"),
        ({"cap": float("nan")}, "cap"),
        ({"base": 3, "cap": 2}, "cap"),
        ({"throttle_base": 30}, "throttle_cap"),
        ({"patience": float("inf")}, "patience"),
        ({"patience": "5"}, "patience"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Failover(**arguments)
