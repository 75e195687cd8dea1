"""Attempts: begun and ended in pairs, retried, moved on, given up; all priced and booked."""

from __future__ import annotations

import pytest
from support.faces import ask, every_face
from support.gateways import deployment, scene
from support.plugins import Begin, Recover, Witness, raising

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    DeadlineExceeded,
    GiveUp,
    NextAlias,
    NextDeployment,
    ProviderError,
    RequestDenied,
    Reselect,
    Retry,
    Skip,
    Wait,
)
from llmgate_plugins.plugins import Failover


def down(status: int = 503) -> ProviderError:
    return ProviderError(f"status {status}", status=status)


@every_face
def test_the_hooks_run_in_the_order_of_a_calls_life(face: str) -> None:
    witness = Witness()
    s = scene({"a": [down()], "b": ["fine"]}, witness)
    assert ask(face, s.gateway).text == "fine"
    assert witness.heard == [
        "admit_request",
        "narrow_deployments",
        "rank_deployments",
        "begin_attempt a",
        "end_attempt a error",
        "recover_attempt",
        "begin_attempt b",
        "end_attempt b success",
        "review_response",
        "end_call success",
    ]


@every_face
def test_a_dead_deployment_is_survived_without_sleeping_and_both_attempts_are_booked(face: str) -> None:
    s = scene({"a": [down()], "b": ["fine"]})
    told = ask(face, s.gateway)
    assert told.text == "fine"
    assert told.tried == ["a", "b"]
    assert s.sleeper.slept == []
    rows = s.ledger.attempts()
    assert [(row["deployment"], row["status"]) for row in rows] == [("a", "error"), ("b", "success")]
    assert rows[1]["cost_nano_usd"] > 0
    assert s.books_balance()


@every_face
def test_retry_waits_and_sends_to_the_same_deployment(face: str) -> None:
    s = scene({"a": [down(), "better"]}, Recover(Retry(2.5)))
    told = ask(face, s.gateway)
    assert told.text == "better"
    assert s.sleeper.slept == [2.5]
    assert [attempt.reason for attempt, _ in told.record.attempts] == ["first", "retry"]


@every_face
def test_retry_may_name_a_deployment_tried_before(face: str) -> None:
    s = scene({"a": [down(), "a again"], "b": [down()]}, Recover(NextDeployment(), Retry(1.0, on="a")))
    told = ask(face, s.gateway)
    assert (told.text, told.tried) == ("a again", ["a", "b", "a"])


@every_face
def test_a_retry_that_does_not_fit_the_deadline_moves_on(face: str) -> None:
    s = scene({"a": [down()], "b": ["fine"]}, Recover(Retry(60.0)), deadline=30.0)
    told = ask(face, s.gateway)
    assert (told.text, told.tried, s.sleeper.slept) == ("fine", ["a", "b"], [])


@every_face
def test_next_alias_leaves_the_siblings_untried(face: str) -> None:
    recover = Recover(NextAlias())
    s = scene(
        {"a": [down()], "b": ["never"], "s": ["strong"]},
        recover,
        deployments=[deployment("a"), deployment("b"), deployment("s", "strong")],
        fallbacks={"fast": ["strong"]},
    )
    assert ask(face, s.gateway).text == "strong"
    assert recover.asked == [("a", ("b",), ("strong",))]
    assert s.sent == ["a", "s"]


@every_face
def test_giving_up_raises_the_primarys_own_error_with_a_note_per_attempt(face: str) -> None:
    first, second = down(503), ProviderError("later", status=500)
    s = scene({"a": [first], "b": [second], "c": ["never"]}, Recover(NextDeployment(), GiveUp()))
    told = ask(face, s.gateway)
    assert told.error is first
    assert [note.rpartition(" after")[0] for note in first.__notes__] == [
        "llmgate attempt 1: a: overloaded (HTTP 503)",
        "llmgate attempt 2: b: server (HTTP 500)",
    ]
    assert s.sent == ["a", "b"]
    assert told.record.status == "error"
    assert s.books_balance()


@every_face
def test_with_no_failover_plugin_the_first_error_is_final(face: str) -> None:
    s = scene({"a": [down()], "b": ["fine"]}, defaults=False)
    told = ask(face, s.gateway)
    assert isinstance(told.error, ProviderError)
    assert s.sent == ["a"]


@every_face
def test_a_callers_own_mistake_is_not_failed_over(face: str) -> None:
    s = scene({"a": [down(400)], "b": ["fine"]})
    told = ask(face, s.gateway)
    assert isinstance(told.error, ProviderError)
    assert s.sent == ["a"]


@every_face
def test_wait_is_slept_and_the_plugin_is_asked_again(face: str) -> None:
    begin = Begin(Wait(1.0), Wait(0.5))
    s = scene({"a": ["ok"]}, begin)
    assert ask(face, s.gateway).text == "ok"
    assert s.sleeper.slept == [1.0, 0.5]
    assert (begin.began, begin.ended) == (["a"], [("a", "success")])


@every_face
def test_a_wait_past_the_deadline_is_a_skip(face: str) -> None:
    s = scene({"a": ["never"]}, Begin(Wait(99.0)), deadline=10.0)
    told = ask(face, s.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "wait_past_deadline"}
    assert s.sleeper.slept == []


@every_face
def test_a_skip_goes_to_the_next_and_only_those_who_began_are_told_the_end(face: str) -> None:
    before, skipper, after = Begin(name="before"), Begin(Skip("rpm"), name="skipper"), Begin(name="after")
    s = scene({"a": ["never"], "b": ["fine"]}, before, skipper, after)
    told = ask(face, s.gateway)
    assert told.text == "fine"
    assert before.ended == [("a", "skipped"), ("b", "success")]
    assert skipper.ended == [("b", "success")]
    assert after.ended == [("b", "success")]
    assert [outcome.skipped for _, outcome in told.record.attempts] == ["rpm", None]
    assert s.sent == ["b"]


@every_face
def test_all_skipped_is_unavailable_with_reasons(face: str) -> None:
    s = scene({"a": ["x"], "b": ["x"]}, Begin(Skip("rpm"), Skip("budget")))
    told = ask(face, s.gateway)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert told.error.reasons == {"a": "rpm", "b": "budget"}


@every_face
def test_a_plugin_may_have_the_deployments_chosen_anew(face: str) -> None:
    before, rank = Begin(name="before"), Begin(Reselect(reason="budget"), name="reselects")
    s = scene({"a": ["fine"], "b": ["never"]}, before, rank)
    told = ask(face, s.gateway)
    assert (told.text, told.tried, before.ended) == ("fine", ["a", "a"], [("a", "skipped"), ("a", "success")])
    assert len(told.record.selections) == 2
    assert [attempt.reason for attempt, _ in told.record.attempts] == ["first", "first"]


@every_face
def test_a_plugin_may_have_another_alias_chosen(face: str) -> None:
    s = scene(
        {"a": ["never"], "z": ["fine"]},
        Begin(Reselect("small", reason="budget")),
        deployments=[deployment("a"), deployment("z", alias="small")],
    )
    told = ask(face, s.gateway)
    assert (told.text, told.tried, told.statuses) == ("fine", ["a", "z"], ["skipped", "success"])
    assert [outcome.skipped for _, outcome in told.record.attempts] == ["budget", None]
    assert [(attempt.alias, attempt.reason) for attempt, _ in told.record.attempts] == [
        ("fast", "first"),
        ("small", "fallback"),
    ]


@every_face
def test_a_denial_before_anything_was_sent_ends_the_call(face: str) -> None:
    before, denies = Begin(name="before"), Begin(RequestDenied("no money", code="budget"), name="denies")
    s = scene({"a": ["never"], "b": ["never"]}, before, denies)
    told = ask(face, s.gateway)
    assert isinstance(told.error, RequestDenied)
    assert (told.error.plugin, told.record.denied_by, told.record.reason) == ("denies", "denies", "budget")
    assert (told.record.status, s.sent, before.ended) == ("denied", [], [("a", "skipped")])
    assert told.record.problems == []


@every_face
def test_a_denial_after_something_was_sent_leaves_the_deployment_out(face: str) -> None:
    denies = Begin(None, RequestDenied("no money", code="budget"), None, name="denies")
    s = scene({"a": [down()], "b": ["never"], "c": ["fine"]}, denies)
    told = ask(face, s.gateway)
    assert (told.text, told.statuses) == ("fine", ["error", "skipped", "success"])


@every_face
def test_the_first_error_is_told_where_a_denial_came_after_it(face: str) -> None:
    denial = RequestDenied("no money", code="budget")
    s = scene({"a": [down()], "b": ["never"]}, Begin(None, *[denial] * 9))
    told = ask(face, s.gateway)
    assert isinstance(told.error, ProviderError)
    assert (told.record.status, s.sent) == ("error", ["a"])


@every_face
def test_a_call_that_starts_past_its_deadline_sends_nothing(face: str) -> None:
    s = scene({"a": ["never"]}, deadline=0.0)
    told = ask(face, s.gateway)
    assert isinstance(told.error, DeadlineExceeded)
    assert s.sent == []
    assert told.record.status == "error"


@pytest.mark.parametrize("hook", ["begin_attempt", "end_attempt", "end_call"])
@every_face
def test_a_broken_accountant_is_isolated_named_and_the_others_are_told(face: str, hook: str, caplog) -> None:
    later = Witness()
    s = scene({"a": ["ok"]}, raising(hook, OSError("disk"), "bookkeeper"), later)
    told = ask(face, s.gateway)
    assert told.text == "ok"
    assert ("bookkeeper", hook, "OSError: disk") in told.record.problems
    assert "plugin 'bookkeeper' failed in " + hook in caplog.text
    assert later.heard[-1] == "end_call success"
    assert s.books_balance()


@every_face
def test_a_broken_failover_opinion_is_skipped_and_the_next_is_asked(face: str) -> None:
    s = scene(
        {"a": [down(), "again"], "b": ["b"]},
        raising("recover_attempt", ValueError("?"), "clever"),
        Recover(Retry(0.0)),
    )
    told = ask(face, s.gateway)
    assert (told.text, told.tried) == ("again", ["a", "a"])
    assert told.record.problems == [("clever", "recover_attempt", "ValueError: ?")]


@every_face
def test_a_failover_plugin_that_never_gives_up_is_stopped(face: str) -> None:
    never = Recover(*[Retry(0.0)] * 1000)
    s = scene({"a": [down()]}, never, Failover(), defaults=False)
    assert isinstance(ask(face, s.gateway).error, ProviderError)
    assert len(s.sent) == 31  # the first, and what the retry budget has for a quiet program
    s = scene({"a": [down()]}, Recover(*[Retry(0.0)] * 1000), defaults=False)
    assert isinstance(ask(face, s.gateway).error, ProviderError)
    assert len(s.sent) == 100


@every_face
def test_a_sibling_that_may_not_be_tried_leaves_the_retry_that_there_is_without_it(face: str) -> None:
    s = scene({"a": [down(), "again"], "b": ["b"]}, Begin(None, Skip("full")))
    told = ask(face, s.gateway)
    assert (told.text, told.statuses) == ("again", ["error", "skipped", "success"])


@every_face
def test_the_record_tells_latency_tokens_and_cost_of_each_attempt(face: str) -> None:
    s = scene({"a": [down()], "b": ["four"]})
    record = ask(face, s.gateway, prompt="12345678").record
    told = record.to_dict()
    assert [one["error_class"] for one in told["attempts"]] == ["overloaded", None]
    usage = record.usage
    assert usage.total > 0
    assert record.cost == usage.input * 1 + usage.output * 2
    assert told["cost_nano_usd"] == record.cost
    assert record.served_by == "b"


@every_face
def test_tags_label_the_books_and_context_comes_only_from_the_application(face: str) -> None:
    s = scene({"a": ["ok"]})
    from llmgate_plugins import Context

    told = ask(face, s.gateway, context=Context(team="search"), tags={"team": "forged", "job": "7"})
    assert told.record.context.team == "search"
    assert told.record.tags == {"team": "forged", "job": "7"}
