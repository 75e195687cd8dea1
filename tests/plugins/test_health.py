"""Which failures eject whom, for how long, and what a call may do meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from support.faces import STREAMS, Told, ask, every_face
from support.gateways import Scene, deployment

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Attempt,
    Call,
    Deployment,
    Endpoint,
    ErrorClass,
    Failure,
    Message,
    Outcome,
    ProviderError,
    Request,
    Scope,
    hookimpl,
)
from llmgate_plugins.classification import reaction_to
from llmgate_plugins.context import NOBODY
from llmgate_plugins.decisions import Drop, Skip
from llmgate_plugins.gateway import Send
from llmgate_plugins.plugins import Failover
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.health import Health, HealthChange, HealthRow
from llmgate_plugins.plugins.health.scopes import HARD, finding
from llmgate_plugins.records import DecisionRecord, Selection
from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing import Slow, Stream
from llmgate_plugins.testing.faults import Fault

DOWN = Fault("connection")
REQUEST = Request(model="fast", messages=(Message(role="user", content="hello"),))
SOFT = ["connection", "server", "bad_gateway", "unavailable", "timeout"]
CALLERS = ["invalid_request", "unprocessable", "content_policy", "context_length", "too_large"]


def keyed(name: str, key: str, **fields: Any) -> Deployment:
    return deployment(name, endpoint=Endpoint(api_key=Secret(key)), **fields)


def scene(script: Mapping[str, Sequence[Any]], *plugins: object, **options: Any) -> Scene:
    """With no other built-in plugin than `Failover`, so that it is health alone that decides."""
    failover = () if any(isinstance(one, Failover) for one in plugins) else (Failover(),)
    return Scene(script, (*plugins, *failover), defaults=False, **options)


def told_rows(health: Health, one: Scene) -> dict[tuple[str, str], HealthRow]:
    return {(row.name, row.ailment.value): row for row in health.report(one.clock.monotonic())}


def states(health: Health, one: Scene) -> dict[str, str]:
    """Name -> state, of all that is not closed."""
    rows = health.report(one.clock.monotonic())
    return {row.name: row.state.value for row in rows if row.state != "closed"}


def send_of(step: object) -> Send:
    assert isinstance(step, Send)
    return step


def dropped(told: Told) -> dict[str, str]:
    return {name: reason for name, (reason, _) in told.record.selections[0].dropped.items()}


def several(times: int, face: str, one: Scene) -> list[Told]:
    return [ask(face, one.gateway) for _ in range(times)]


# ---------------------------------------------------------------- ejection


@every_face
@pytest.mark.parametrize("kind", SOFT)
def test_five_failures_in_a_row_eject_and_calls_go_elsewhere(face: str, kind: Any) -> None:
    health = Health()
    one = scene({"a": [Fault(kind)], "b": ["ok"]}, health)
    for told in several(5, face, one):
        assert told.tried == ["a", "b"]
    told = ask(face, one.gateway)
    assert told.tried == ["b"]
    reasons = {"connection": "ejected_transport", "timeout": "ejected_slow"}
    assert dropped(told) == {"a": reasons.get(kind, "ejected_overload")}
    until = told.record.selections[0].until["a"]
    longest = 15.0 if kind == "timeout" else 8.0
    assert 0.8 * longest <= until - one.clock.time() <= 1.2 * longest
    assert states(health, one) == {"a": "ejected"}


@every_face
def test_four_failures_and_a_success_eject_nobody(face: str) -> None:
    one = scene({"a": [*[DOWN] * 4, "ok", *[DOWN] * 4, "ok"], "b": ["ok"]}, Health())
    assert all(told.tried[0] == "a" for told in several(10, face, one))


def test_half_of_ten_failures_within_the_window_eject() -> None:
    one = scene({"a": [DOWN, "ok"] * 10, "b": ["ok"]}, Health())
    tried = [told.tried[0] for told in several(20, "sync", one)]
    assert tried[:11].count("a") >= 10
    assert tried[-1] == "b"


def test_a_third_of_failures_ejects_nobody() -> None:
    one = scene({"a": [DOWN, "ok", "ok"] * 30, "b": ["ok"]}, Health())
    assert all(told.tried[0] == "a" for told in several(90, "sync", one))


def test_failures_that_are_far_apart_in_time_fade() -> None:
    health = Health()
    one = scene({"a": [DOWN, "ok"] * 20, "b": ["ok"]}, health)
    for _ in range(40):
        assert ask("sync", one.gateway).tried[0] == "a"
        one.clock.advance(20.0)


@pytest.mark.parametrize("kind", ["server", "connection"])
def test_each_kind_of_failure_is_counted_by_itself(kind: Any) -> None:
    other = "connection" if kind == "server" else "server"
    one = scene({"a": [*[Fault(kind)] * 4, *[Fault(other)] * 4, "ok"], "b": ["ok"]}, Health(share=1.0))
    assert several(9, "sync", one)[-1].tried == ["a"]


def test_ejections_of_a_slow_deployment_grow_and_calm_times_make_up_for_them() -> None:
    health = Health(jitter=0.0)
    one = scene({"a": [TimeoutError("silent")], "b": ["ok"]}, health)
    several(5, "sync", one)
    lengths = []
    for _ in range(6):
        row = told_rows(health, one)["a", "slow"]
        assert row.until is not None
        lengths.append(row.until - one.clock.monotonic())
        one.clock.advance(lengths[-1])
        assert ask("sync", one.gateway).tried == ["a", "b"]
    assert lengths == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0]


def test_the_first_ejection_after_a_long_calm_is_short_again() -> None:
    health = Health(jitter=0.0)
    ill = [TimeoutError("silent")]
    one = scene({"a": [*ill * 5, *ill, *["ok"] * 4, *ill * 5], "b": ["ok"]}, health)
    several(5, "sync", one)
    one.clock.advance(15.0)
    ask("sync", one.gateway)
    one.clock.advance(30.0)
    several(3, "sync", one)
    one.clock.advance(130.0)
    several(6, "sync", one)
    row = told_rows(health, one)["a", "slow"]
    assert row.until is not None
    assert row.until - one.clock.monotonic() == 15.0
    assert row.ejections == 1


@pytest.mark.parametrize("kind", ["server", "connection"])
def test_the_wait_between_probes_stays_short_where_asking_is_cheap(kind: Any) -> None:
    health = Health()
    one = scene({"a": [Fault(kind)], "b": ["ok"]}, health)
    times = []
    for _ in range(600):
        if ask("sync", one.gateway).tried[0] == "a":
            times.append(one.clock.monotonic())
        one.clock.advance(0.5)
    gaps = [after - before for before, after in pairwise(times[5:])]
    assert len(gaps) > 20
    assert max(gaps) <= 8.0 * 1.2 + 0.5


# ---------------------------------------------------------------- rate limits


@every_face
def test_a_rate_limit_with_a_time_pauses_at_once_until_then(face: str) -> None:
    health = Health()
    one = scene({"a": [Fault("rate_limit", retry_after=30.0), "ok"], "b": ["ok"]}, health)
    assert ask(face, one.gateway).tried == ["a", "b"]
    told = ask(face, one.gateway)
    assert told.tried == ["b"]
    assert dropped(told) == {"a": "throttled"}
    assert told.record.selections[0].until["a"] == pytest.approx(one.clock.time() + 30.0)
    one.clock.advance(30.0)
    assert ask(face, one.gateway).tried == ["a"]
    assert told_rows(health, one) == {}


def test_rate_limits_with_a_time_are_no_sign_of_illness_however_many() -> None:
    health = Health()
    one = scene({"a": [Fault("rate_limit", retry_after=1.0)], "b": ["ok"]}, health)
    for _ in range(50):
        assert ask("sync", one.gateway).tried == ["a", "b"]
        one.clock.advance(1.0)
    assert states(health, one) == {}


def test_the_longest_pause_taken_from_a_provider_is_an_hour() -> None:
    one = scene({"a": [Fault("rate_limit", retry_after=86_400.0), "ok"], "b": ["ok"]}, Health())
    ask("sync", one.gateway)
    one.clock.advance(3_599.0)
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(1.0)
    assert ask("sync", one.gateway).tried == ["a"]


def test_a_rate_limit_without_a_time_pauses_for_a_second() -> None:
    one = scene({"a": [Fault("rate_limit"), "ok"], "b": ["ok"]}, Health())
    ask("sync", one.gateway)
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(1.0)
    assert ask("sync", one.gateway).tried == ["a"]


def test_a_call_that_was_refused_itself_decides_when_to_ask_again() -> None:
    one = scene({"a": [Fault("rate_limit"), "ok"]}, Health())
    told = ask("sync", one.gateway)
    assert (told.tried, told.text) == (["a", "a"], "ok")
    assert one.sleeper.slept[0] < 1.0, "the pause is for the others"


def test_five_rate_limits_without_a_time_eject() -> None:
    health = Health()
    one = scene({"a": [Fault("rate_limit")], "b": ["ok"]}, health)
    for _ in range(5):
        assert ask("sync", one.gateway).tried == ["a", "b"]
        one.clock.advance(1.0)
    assert states(health, one) == {"a": "ejected"}


def test_when_all_asked_to_wait_a_call_hears_from_each_and_waits_for_the_soonest() -> None:
    long, short = Fault("rate_limit", retry_after=30.0), Fault("rate_limit", retry_after=3.0)
    health = Health()
    one = scene({"a": [long], "b": [short, "from b"]}, health, Failover())
    busy = Failure(error_class=ErrorClass.RATE_LIMIT, scope=Scope.MODEL, status=429, retry_after=3.0)
    ended = Outcome(status="error", error=RuntimeError("x"), failure=busy)
    for name in ("a", "b"):
        health.end_attempt(attempt_on(deployment(name), one), ended, a_call(one), one.gateway.services)
    assert states(health, one) == {"a": "throttled", "b": "throttled"}
    told = ask("sync", one.gateway)
    assert (told.tried, told.text) == (["a", "b", "b"], "from b")
    assert 3.0 <= sum(one.sleeper.slept) <= 3.3


# ---------------------------------------------------------------- hard ejections


@every_face
@pytest.mark.parametrize(("kind", "code"), [("quota", "no_money"), ("authentication", "bad_key")])
def test_a_shared_credential_ejects_all_its_deployments_and_no_other(face: str, kind: Any, code: str) -> None:
    health = Health()
    group = [keyed("a", "sk-one"), keyed("b", "sk-one"), keyed("c", "sk-two")]
    one = scene({"a": [Fault(kind)], "b": ["ok"], "c": ["ok"]}, health, deployments=group)
    told = ask(face, one.gateway)
    assert [id for id in one.sent if id != "b"] == ["a", "c"]
    assert told.text.startswith("ok")
    told = ask(face, one.gateway)
    assert dropped(told) == {"a": code, "b": code}
    assert told.tried == ["c"]
    assert "b" not in one.sent


def test_without_a_known_credential_only_the_deployment_itself_is_ejected() -> None:
    one = scene({"a": [Fault("authentication")], "b": ["ok"]}, Health())
    ask("sync", one.gateway)
    assert dropped(ask("sync", one.gateway)) == {"a": "bad_key"}


def test_a_missing_model_ejects_the_pair_and_not_the_key() -> None:
    group = [keyed("a", "sk-one"), keyed("b", "sk-one")]
    one = scene({"a": [Fault("not_found")], "b": ["ok"]}, Health(), deployments=group)
    ask("sync", one.gateway)
    assert dropped(ask("sync", one.gateway)) == {"a": "model_gone"}


NOWHERE = ProviderError('{"detail":"Not Found"}', status=404)


def asked_for(operation: str) -> Request:
    return Request(model="fast", operation=operation, params={"input": "hello"})


def test_a_path_that_one_kind_of_call_lacks_ejects_it_for_no_other_kind() -> None:
    health = Health()
    one = scene({"a": [NOWHERE, "chat", "chat"], "b": ["ok"]}, health)
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["a", "b"]
    told = ask("sync", one.gateway, asked_for("responses"))
    assert (told.tried, dropped(told)) == (["b"], {"a": "no_path"})
    assert ask("sync", one.gateway).tried == ["a"]
    (row,) = health.report(one.clock.monotonic())
    assert (row.name, row.reason) == ("a", "no_path")
    assert [alert.subject for alert in one.gateway.alerts.ongoing] == ["a/responses"]


def test_a_path_that_was_missing_is_tried_again_ever_later_until_it_is_there() -> None:
    one = scene({"a": [NOWHERE, NOWHERE, "there", "there"], "b": ["ok"]}, Health())
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["a", "b"]
    one.clock.advance(61.0)
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["a", "b"]
    one.clock.advance(61.0)
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["b"]
    one.clock.advance(61.0)
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["a"]
    assert ask("sync", one.gateway, asked_for("responses")).tried == ["a"]
    assert one.gateway.alerts.ongoing == ()


@every_face
def test_where_nobody_has_the_path_each_call_hears_so(face: str) -> None:
    one = scene({"a": [NOWHERE] * 3, "b": [NOWHERE] * 3}, Health())
    for _ in range(3):
        told = ask(face, one.gateway)
        assert told.tried == ["a", "b"]
        assert told.error is NOWHERE


def test_a_retired_model_is_left_alone_for_an_hour() -> None:
    gone = ProviderError("retired", status=410)
    one = scene({"a": [gone, "ok"], "b": ["ok"]}, Health())
    ask("sync", one.gateway)
    one.clock.advance(3_599.0)
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(1.0)
    assert ask("sync", one.gateway).tried == ["a"]


def test_an_overloaded_provider_is_ejected_with_all_its_deployments() -> None:
    group = [
        deployment("a", provider="p"),
        deployment("b", provider="p"),
        deployment("c", provider="q"),
        deployment("d", provider="q"),
    ]
    overloaded = Fault("overloaded", status=529, code="overloaded_error")
    script = {"a": [overloaded], "b": [overloaded], "c": ["ok"], "d": ["ok"]}
    one = scene(script, Health(), deployments=group)
    several(5, "sync", one)
    assert dropped(ask("sync", one.gateway)) == {"a": "ejected_overload", "b": "ejected_overload"}


@every_face
def test_when_all_are_hard_ejected_the_answer_comes_at_once_with_the_time_to_come_back(face: str) -> None:
    health = Health(jitter=0.0)
    group = [keyed("a", "sk-one"), keyed("b", "sk-two")]
    one = scene({"a": [Fault("quota")], "b": [Fault("authentication")]}, health, deployments=group)
    assert isinstance(ask(face, one.gateway).error, ProviderError)
    sent, slept = len(one.sent), len(one.sleeper.slept)
    told = ask(face, one.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "no_money", "b": "bad_key"}
    assert told.error.retry_at == pytest.approx(one.clock.time() + 60.0)
    assert (len(one.sent), len(one.sleeper.slept)) == (sent, slept)


def test_a_key_that_was_repaired_comes_back_by_one_probe() -> None:
    health = Health(jitter=0.0)
    group = [keyed("a", "sk-one"), keyed("b", "sk-one"), keyed("c", "sk-two")]
    one = scene({"a": [Fault("quota"), "ok"], "b": ["ok"], "c": ["ok"]}, health, deployments=group)
    ask("sync", one.gateway)
    one.clock.advance(59.0)
    assert ask("sync", one.gateway).tried == ["c"]
    one.clock.advance(1.0)
    assert states(health, one) == {group[0].credential: "half_open"}
    assert ask("sync", one.gateway).tried == ["a"]
    assert states(health, one) == {}


def test_money_that_comes_back_at_a_known_time_is_not_asked_for_before() -> None:
    one = scene({"a": [Fault("quota", retry_after=600.0), "ok"], "b": ["ok"]}, Health())
    ask("sync", one.gateway)
    one.clock.advance(599.0)
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(1.0)
    assert ask("sync", one.gateway).tried == ["a"]


# ---------------------------------------------------------------- what never counts


@every_face
@pytest.mark.parametrize("kind", CALLERS)
def test_what_is_the_requests_own_fault_ejects_nobody(face: str, kind: Any) -> None:
    health = Health()
    one = scene({"a": [Fault(kind)], "b": [Fault(kind)]}, health)
    several(30, face, one)
    assert health.report(one.clock.monotonic()) == []


def test_cancelled_calls_eject_nobody() -> None:
    health = Health()
    one = scene({"a": [Slow(1.0)], "b": ["ok"]}, health)

    async def main() -> None:
        for _ in range(30):
            task = asyncio.create_task(one.gateway.acomplete("fast", "hello"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert health.report(one.clock.monotonic()) == []
    assert {outcome.status for record in one.gateway.decisions for _, outcome in record.attempts} <= {
        "cancelled",
        "skipped",
    }


@pytest.mark.parametrize("face", STREAMS)
def test_readers_who_leave_eject_nobody(face: str) -> None:
    health = Health()
    one = scene({"a": [Stream("one", "two", "three")], "b": ["ok"]}, health)
    for _ in range(30):
        assert ask(face, one.gateway, take=1).statuses == ["abandoned"]
    assert health.report(one.clock.monotonic()) == []


@pytest.mark.parametrize(("seconds", "ejected"), [(0.5, False), (29.0, False), (31.0, True)])
def test_a_caller_in_a_hurry_ejects_nobody(seconds: float, ejected: bool) -> None:
    health = Health()
    late = Slow(seconds, TimeoutError("no answer in time"))
    one = scene({"a": [late], "b": [late]}, health)
    for _ in range(5):
        told = ask("sync", one.gateway, REQUEST.replace(timeout=seconds))
        assert told.error is not None
    assert bool(states(health, one)) is ejected


def test_a_deployment_that_is_silent_for_longer_than_its_own_limit_counts() -> None:
    health = Health()
    one = scene({"a": [Slow(5.0, TimeoutError("no first token"))], "b": ["ok"]}, health)
    for _ in range(5):
        ask("sync", one.gateway, REQUEST.replace(timeout=20.0))
    assert states(health, one) == {"a": "ejected"}


def test_a_flood_of_bad_requests_does_not_hide_a_recovery() -> None:
    """A probe that the request itself spoils says nothing; the next call probes again."""
    health = Health()
    bad = Fault("invalid_request")
    one = scene({"a": [*[DOWN] * 5, *[bad] * 5, "ok"], "b": ["ok"]}, health)
    several(5, "sync", one)
    one.clock.advance(10.0)
    for _ in range(5):
        assert isinstance(ask("sync", one.gateway).error, ProviderError)
        assert states(health, one) == {"a": "half_open"}
    assert [told.tried for told in several(3, "sync", one)] == [["a"]] * 3
    assert states(health, one) == {"a": "slow_start"}


def test_every_kind_of_failure_is_ejected_as_the_table_of_reactions_says() -> None:
    whole = keyed("a", "sk-one")
    for error_class in ErrorClass:
        for scope in Scope:
            failure = Failure(error_class=error_class, scope=scope)
            found, wanted = finding(failure, whole), reaction_to(failure).health
            if scope in (Scope.REQUEST, Scope.CALLER, Scope.LOCAL) or wanted == "nothing":
                assert found is None, failure
            else:
                assert found is not None, failure
                assert (found.ailment in HARD) == (wanted in ("ejects", "retires")), failure
                assert (found.ailment == "throttle") == (wanted == "pauses"), failure


def test_a_bad_certificate_ejects_at_once_and_an_unreached_host_counts_as_transport() -> None:
    whole = keyed("a", "sk-one")
    bad = Failure(error_class=ErrorClass.CONNECTION, scope=Scope.DEPLOYMENT, code="certificate")
    late = Failure(error_class=ErrorClass.TIMEOUT, scope=Scope.DEPLOYMENT, code="connect_timeout")
    stale = Failure(error_class=ErrorClass.CONNECTION, scope=Scope.DEPLOYMENT, code="stale_connection")
    found = finding(bad, whole)
    assert found is not None
    assert (found.reason, found.ailment in HARD) == ("bad_certificate", True)
    found = finding(late, whole)
    assert found is not None
    assert found.reason == "ejected_transport"
    assert finding(stale, whole) is None


# ---------------------------------------------------------------- groups, panic, fallbacks


@every_face
def test_of_two_deployments_the_ill_one_is_ejected(face: str) -> None:
    one = scene({"a": [DOWN], "b": ["ok"]}, Health())
    several(5, face, one)
    assert {tuple(told.tried) for told in several(5, face, one)} == {("b",)}


@every_face
def test_the_only_deployment_is_tried_once_by_each_call_however_ill(face: str) -> None:
    one = scene({"a": [DOWN]}, Health(), Failover())
    several(2, face, one)
    slept = len(one.sleeper.slept)
    for told in several(5, face, one):
        assert isinstance(told.error, ProviderError)
        assert told.tried == ["a"]
    assert len(one.sleeper.slept) == slept


@every_face
def test_a_fallback_gets_the_call_when_the_only_deployment_is_ejected(face: str) -> None:
    group = [deployment("a"), deployment("b", alias="strong")]
    one = scene({"a": [DOWN], "b": ["ok"]}, Health(), Failover(), deployments=group)
    for _ in range(5):
        ask(face, one.gateway)
    told = ask(face, one.gateway, Request(model="fast", fallbacks=("strong",)))
    assert told.tried == ["b"]
    assert dropped(told) == {"a": "ejected_transport"}


@every_face
def test_a_configured_fallback_gets_the_call_too_and_of_two_ejected_aliases_the_last_is_tried(
    face: str,
) -> None:
    group = [deployment("a"), deployment("b", alias="strong")]
    script = {"a": [DOWN], "b": [DOWN] * 5 + ["ok"]}
    one = scene(script, Health(), deployments=group, fallbacks={"fast": ["strong"]})
    several(8, face, one)
    told = ask(face, one.gateway)
    assert told.tried == ["b"]
    assert told.text.startswith("ok")


@every_face
def test_no_retry_is_slept_for_before_a_fallback_when_the_call_itself_saw_the_ejection(face: str) -> None:
    group = [deployment("a"), deployment("b", alias="strong")]
    health = Health(consecutive=1)
    one = scene({"a": [DOWN], "b": ["ok"]}, health, deployments=group, fallbacks={"fast": ["strong"]})
    assert ask(face, one.gateway).tried == ["a", "b"]
    assert one.sleeper.slept == []


def test_a_bound_on_attempts_holds_while_all_are_ejected() -> None:
    class Once:
        @hookimpl
        def admit_request(self, call: Call) -> None:
            call.stash[MOST_ATTEMPTS] = 1

    group = [deployment("a"), deployment("b", alias="strong")]
    script = {"a": [DOWN], "b": ["ok"]}
    one = scene(script, Once(), Health(), Failover(), deployments=group, fallbacks={"fast": ["strong"]})
    for told in several(5, "sync", one):
        assert told.tried == ["a"]
    assert ask("sync", one.gateway).tried == ["b"], "the alias whose deployments are ejected is passed over"


def test_if_less_than_half_would_be_left_soft_ejections_do_not_count() -> None:
    one = scene({"a": [DOWN], "b": [DOWN], "c": ["ok"]}, Health())
    several(5, "sync", one)
    told = ask("sync", one.gateway)
    assert dropped(told) == {}
    assert told.tried[-1] == "c"
    assert told.statuses == ["error", "skipped", "success"], "one of the ill is tried, not both"


def test_panic_lets_no_hard_ejection_in() -> None:
    group = [keyed("a", "sk-one"), keyed("b", "sk-two"), keyed("c", "sk-three")]
    script = {"a": [Fault("quota")], "b": [Fault("authentication")], "c": [DOWN]}
    one = scene(script, Health(), Failover(), deployments=group)
    several(4, "sync", one)
    before = len(one.sent)
    told = ask("sync", one.gateway)
    assert dropped(told) == {"a": "no_money", "b": "bad_key"}
    assert set(one.sent[before:]) == {"c"}


def test_an_attempt_that_another_plugin_skips_does_not_use_up_the_leave() -> None:
    class NotA:
        strict = False

        @hookimpl
        def begin_attempt(self, attempt: Attempt) -> Skip | None:
            return Skip("not_a") if self.strict and attempt.deployment.id == "a" else None

    later = NotA()
    one = scene({"a": [DOWN], "b": [DOWN]}, Health(), later)
    several(5, "sync", one)
    later.strict = True
    assert ask("sync", one.gateway).statuses == ["skipped", "error"]


def test_what_is_hard_ejected_after_panic_let_it_in_is_not_sent_to() -> None:
    health = Health()
    one = scene({"a": [DOWN]}, health)
    services, call = one.gateway.services, a_call(one)
    group = one.gateway.deployments_of("fast")
    several(5, "sync", one)
    assert health.narrow_deployments(group, call, services) is None
    health.end_attempt(attempt_on(group[0], one), BROKE, call, services)
    answer = health.begin_attempt(attempt_on(group[0], one), call, services)
    assert isinstance(answer, Skip)
    assert answer.reason == "no_money"


def test_those_that_asked_to_wait_are_no_part_of_the_panic() -> None:
    busy = Fault("rate_limit", retry_after=60.0)
    one = scene({"a": [busy], "b": [busy], "c": ["ok"]}, Health())
    ask("sync", one.gateway)
    told = ask("sync", one.gateway)
    assert told.tried == ["c"]
    assert dropped(told) == {"a": "throttled", "b": "throttled"}


def test_without_panic_all_ejected_are_dropped_and_the_time_is_told() -> None:
    one = scene({"a": [DOWN]}, Health(least_left=0.0, jitter=0.0), Failover())
    several(2, "sync", one)
    told = ask("sync", one.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.retry_at is not None
    assert one.clock.time() < told.error.retry_at <= one.clock.time() + 8.0


def test_what_is_ejected_after_it_was_selected_is_skipped() -> None:
    one = scene({"a": ["ok"], "b": [Fault("authentication")], "c": ["ok"]}, Health())
    steps = one.gateway.steps(REQUEST)
    assert send_of(next(steps)).attempt.deployment.id == "a"
    ask("sync", one.gateway, "b")
    step = send_of(steps.throw(ProviderError("Connection error.", code="connection")))
    assert step.attempt.deployment.id == "c"
    steps.close()
    attempts = one.gateway.decisions[-1].attempts
    assert [outcome.skipped for _, outcome in attempts] == [None, "bad_key", None]


# ---------------------------------------------------------------- one probe at a time


def probing(script: dict[str, Sequence[Any]], health: Health) -> Scene:
    """A scene in which "a" has just become half-open."""
    one = scene({**script, "a": [*[DOWN] * 5, *script["a"]]}, health)
    several(5, "sync", one)
    one.clock.advance(10.0)
    return one


def test_of_many_calls_at_once_one_probes() -> None:
    one = probing({"a": [Slow(0.01)], "b": ["ok"]}, Health())
    before = len(one.sent)

    async def main() -> None:
        await asyncio.gather(*(one.gateway.acomplete("fast", "hello") for _ in range(50)))

    asyncio.run(main())
    assert one.sent[before:].count("a") == 1
    assert one.sent[before:].count("b") == 49
    reasons = {
        outcome.skipped or reason
        for record in list(one.gateway.decisions)[-50:]
        for _, outcome in record.attempts
        for reason in [record.selections[0].dropped.get("a", ("",))[0]]
        if outcome.skipped or reason
    }
    assert reasons == {"probing"}


def test_of_many_threads_one_probes() -> None:
    holding, go = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        holding.set()
        assert go.wait(10)
        return "ok"

    one = probing({"a": [slow], "b": ["ok"]}, Health())
    before = len(one.sent)
    prober = threading.Thread(target=one.gateway.complete, args=("fast", "hello"))
    prober.start()
    assert holding.wait(10)
    others = [threading.Thread(target=one.gateway.complete, args=("fast", "hello")) for _ in range(8)]
    for other in others:
        other.start()
    for other in others:
        other.join(10)
    go.set()
    prober.join(10)
    assert sorted(one.sent[before:]) == ["a", *["b"] * 8]


@pytest.mark.parametrize("face", STREAMS)
def test_a_probe_that_is_left_gives_its_slot_back(face: str) -> None:
    health = Health()
    one = probing({"a": [Stream("one", "two", "three"), "ok"], "b": ["ok"]}, health)
    assert ask(face, one.gateway, take=1).statuses == ["abandoned"]
    assert states(health, one) == {"a": "half_open"}
    assert ask(face, one.gateway).tried == ["a"]


def test_a_probe_that_is_cancelled_gives_its_slot_back() -> None:
    health = Health()
    one = probing({"a": [Slow(1.0), "ok"], "b": ["ok"]}, health)

    async def main() -> None:
        task = asyncio.create_task(one.gateway.acomplete("fast", "hello"))
        await asyncio.sleep(0)
        assert states(health, one) == {"a": "probing"}
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert states(health, one) == {"a": "half_open"}


def test_a_probe_that_another_plugin_skips_gives_its_slot_back() -> None:
    class NotA:
        @hookimpl
        def begin_attempt(self, attempt: Attempt) -> Skip | None:
            return Skip("not_a") if attempt.deployment.id == "a" and self.strict else None

        strict = False

    health, strict = Health(), NotA()
    one = scene({"a": [*[DOWN] * 5, "ok"], "b": ["ok"]}, health, strict)
    several(5, "sync", one)
    one.clock.advance(10.0)
    strict.strict = True
    assert ask("sync", one.gateway).statuses == ["skipped", "success"]
    assert states(health, one) == {"a": "half_open"}


def test_a_probe_of_which_nothing_is_heard_loses_its_slot_in_time() -> None:
    health = Health()
    one = probing({"a": ["ok"], "b": ["ok"]}, health)
    steps = one.gateway.steps(REQUEST)
    assert send_of(next(steps)).attempt.deployment.id == "a"
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(59.0)
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(1.0)
    assert ask("sync", one.gateway).tried == ["a"]
    steps.close()


def test_a_probe_that_fails_ejects_again_and_its_call_goes_on_elsewhere() -> None:
    health = Health()
    one = probing({"a": [DOWN], "b": ["ok"]}, health)
    assert ask("sync", one.gateway).tried == ["a", "b"]
    assert told_rows(health, one)["a", "transport"].ejections == 2
    assert ask("sync", one.gateway).tried == ["b"]


@pytest.mark.parametrize("kind", ["server", "timeout"])
def test_a_probe_that_fails_in_another_way_shows_that_it_is_not_well_yet(kind: Any) -> None:
    health = Health()
    one = probing({"a": [Fault(kind)], "b": ["ok"]}, health)
    ask("sync", one.gateway)
    assert told_rows(health, one)["a", "transport"].ejections == 2
    assert ask("sync", one.gateway).tried == ["b"]


def test_a_probe_that_is_rate_limited_says_that_somebody_answers() -> None:
    health = Health()
    one = probing({"a": [Fault("rate_limit", retry_after=5.0), "ok"], "b": ["ok"]}, health)
    ask("sync", one.gateway)
    rows = told_rows(health, one)
    assert rows["a", "transport"].state == "half_open"
    assert rows["a", "throttle"].state == "throttled"
    assert ask("sync", one.gateway).tried == ["b"]
    one.clock.advance(5.0)
    assert ask("sync", one.gateway).tried == ["a"]


def test_three_answers_in_a_row_close() -> None:
    health = Health()
    one = probing({"a": ["ok", "ok", DOWN, "ok", "ok", "ok"], "b": ["ok"]}, health)
    several(3, "sync", one)
    assert states(health, one) == {"a": "ejected"}
    one.clock.advance(10.0)
    several(2, "sync", one)
    assert states(health, one) == {"a": "half_open"}
    several(1, "sync", one)
    assert states(health, one) == {"a": "slow_start"}
    one.clock.advance(30.0)
    assert states(health, one) == {}


def test_late_news_of_attempts_from_before_does_not_count() -> None:
    """Stragglers of the outage end after it: they say nothing about the time after."""
    health = Health()
    one = scene({"a": ["ok"], "b": ["ok"]}, health)
    late = [one.gateway.steps(REQUEST) for _ in range(20)]
    for steps in late:
        next(steps)
    for steps in late[:5]:
        steps.throw(ProviderError("Connection error.", code="connection"))
    assert states(health, one) == {"a": "ejected"}
    one.clock.advance(10.0)
    several(3, "sync", one)
    for steps in late[5:]:
        steps.throw(ProviderError("Connection error.", code="connection"))
    assert states(health, one) == {"a": "slow_start"}
    for steps in late:
        steps.close()


def test_what_nobody_probed_for_long_is_forgotten() -> None:
    health = Health()
    one = probing({"a": ["ok"], "b": ["ok"]}, health)
    one.clock.advance(300.0)
    assert states(health, one) == {"a": "slow_start"}
    one.clock.advance(3_600.0)
    assert health.report(one.clock.monotonic()) == []


# ---------------------------------------------------------------- what it costs, what it shows


class Counting(Sequence[Deployment]):
    """A tuple of deployments that knows how often it was gone through."""

    def __init__(self, items: Sequence[Deployment]) -> None:
        self.items = tuple(items)
        self.seen = 0

    def __getitem__(self, index: Any) -> Any:
        self.seen += 1
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Deployment]:
        for one in self.items:
            self.seen += 1
            yield one


def a_call(one: Scene) -> Call:
    record = DecisionRecord(call_id="x", model="fast", at=0.0)
    record.selections.append(Selection(alias="fast", considered=()))
    return Call("x", Request(model="fast"), NOBODY, one.clock.monotonic(), None, record)


def attempt_on(where: Deployment, one: Scene) -> Attempt:
    return Attempt(
        call_id="x",
        number=1,
        deployment=where,
        alias="fast",
        reason="first",
        started=one.clock.monotonic(),
    )


BROKE = Outcome(
    status="error",
    error=RuntimeError("x"),
    failure=Failure(error_class=ErrorClass.QUOTA, scope=Scope.MODEL, status=429),
)


def test_ten_thousand_deployments_are_gone_through_once_and_not_per_call() -> None:
    health = Health()
    one = scene({"a": ["ok"]}, health)
    services, call = one.gateway.services, a_call(one)
    group = Counting([deployment(f"d{place}") for place in range(10_000)])

    def narrow() -> Drop | None:
        return health.narrow_deployments(group, call, services)

    assert narrow() is None
    assert group.seen == 0, "nothing is looked at while all are well"
    for ill in group.items[:100]:
        health.end_attempt(attempt_on(ill, one), BROKE, call, services)
    first = narrow()
    assert first is not None
    assert len(first.reasons) == 100
    seen = group.seen
    assert seen <= 3 * len(group)
    well, fine = attempt_on(group.items[-1], one), Outcome(status="success")
    for _ in range(1_000):
        assert narrow() is first
        assert health.begin_attempt(well, call, services) is None
        health.end_attempt(well, fine, call, services)
    health.end_attempt(attempt_on(group.items[100], one), BROKE, call, services)
    second = narrow()
    assert second is not None
    assert len(second.reasons) == 101
    assert group.seen == seen, "a change costs as much as there are ill ones"


def test_an_illness_elsewhere_leaves_the_answer_of_a_group_as_it_is() -> None:
    health = Health()
    one = scene({"a": ["ok"]}, health)
    services, call = one.gateway.services, a_call(one)
    here, there = (deployment("a"), deployment("b")), (deployment("c"), deployment("d"))
    health.end_attempt(attempt_on(here[0], one), BROKE, call, services)
    first = health.narrow_deployments(here, call, services)
    assert first is not None
    health.end_attempt(attempt_on(there[0], one), BROKE, call, services)
    assert health.narrow_deployments(here, call, services) is first


def test_what_is_known_does_not_grow_with_deployments_that_come_and_go() -> None:
    health = Health()
    one = scene({"a": ["ok"]}, health)
    services, call = one.gateway.services, a_call(one)
    for place in range(12_000):
        health.end_attempt(attempt_on(deployment(f"d{place}"), one), BROKE, call, services)
    assert len(health.report(one.clock.monotonic())) == 10_000
    one.clock.advance(7 * 86_400.0)
    for _ in range(3):
        one.clock.advance(3_600.0)
        rows = health.report(one.clock.monotonic())
    assert rows == []


def test_what_is_worked_out_does_not_grow_with_hosts_that_bring_new_tuples() -> None:
    health = Health()
    one = scene({"a": ["ok"]}, health)
    services, call = one.gateway.services, a_call(one)
    whole = [deployment(f"d{place}") for place in range(1_000)]
    health.end_attempt(attempt_on(whole[0], one), BROKE, call, services)
    tracked: list[weakref.ref[Counting]] = []
    for _ in range(300):
        group = Counting(whole)
        tracked.append(weakref.ref(group))
        drop = health.narrow_deployments(group, call, services)
        assert drop is not None
        assert list(drop.reasons) == ["d0"]
    gc.collect()
    assert sum(one() is not None for one in tracked) <= 66


def test_changes_are_told_in_order_and_a_listener_that_fails_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[HealthChange] = []

    def listen(change: HealthChange) -> None:
        told.append(change)
        raise RuntimeError("the pager is down")

    with caplog.at_level(logging.CRITICAL, logger="llmgate"):
        one = probing({"a": ["ok"], "b": ["ok"]}, Health(on_change=listen))
        for asked in several(3, "sync", one):
            assert asked.text == "ok"
    assert [(change.name, change.before.value, change.after.value) for change in told] == [
        ("a", "closed", "ejected"),
        ("a", "ejected", "half_open"),
        ("a", "half_open", "probing"),
        ("a", "probing", "half_open"),
        ("a", "half_open", "probing"),
        ("a", "probing", "half_open"),
        ("a", "half_open", "probing"),
        ("a", "probing", "slow_start"),
    ]
    assert told[0].reason == "ejected_transport"
    assert told[0].scope is Scope.DEPLOYMENT


def test_the_report_shows_no_secret() -> None:
    health = Health()
    one = scene(
        {"a": [Fault("quota")], "b": ["ok"]},
        health,
        deployments=[keyed("a", "sk-hidden-1"), keyed("b", "sk-2")],
    )
    ask("sync", one.gateway)
    (row,) = health.report(one.clock.monotonic())
    assert (row.scope, row.ailment, row.reason) == (Scope.CREDENTIAL, "money", "no_money")
    assert "hidden" not in repr(row)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consecutive", 0),
        ("samples", 1.5),
        ("share", 1.5),
        ("window", 0),
        ("ejection", -1.0),
        ("most_ejection", 1.0),
        ("most_quick", float("nan")),
        ("jitter", 2.0),
        ("successes", True),
        ("least_left", 1.1),
        ("least_share", -0.1),
        ("slow_start", float("inf")),
        ("forget", "long"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        Health(**arguments)
