"""What the books say of attempts and calls."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from support.values import DEAR, a_call, a_deployment, a_request, an_attempt, an_error, some_services

from llmgate_plugins.context import Context
from llmgate_plugins.plugins import LedgerAccounting
from llmgate_plugins.services import Services
from llmgate_plugins.types import ErrorClass, LazyMessages, Message, Outcome, Request, Usage

A = a_deployment("a", price=DEAR)


def book(
    outcome: Outcome | None, request: Request | None = None, context: Context | None = None
) -> dict[str, Any]:
    """One attempt, and its row."""
    services, plugin, attempt = some_services(), LedgerAccounting(), an_attempt(A)
    assert plugin.begin_attempt(attempt, request or a_request(), context or Context(), services) is None
    if outcome is not None:
        assert plugin.end_attempt(attempt, outcome, services) is None
    (row,) = services.ledger.attempts("call")
    return row


def test_the_intent_is_written_before_anything_is_sent() -> None:
    row = book(None, a_request("x" * 4000, params={"max_tokens": 100}))
    assert row["status"] == "intent"
    assert row["deployment"] == "a"
    assert row["estimate_nano_usd"] == 1000 * 3_000 + 100 * 15_000


def test_an_attempt_is_settled_with_what_it_used() -> None:
    usage = Usage(input=10, output=5)
    row = book(Outcome(status="success", usage=usage, cost=105, latency=1.5, finish_reason="stop", model="m"))
    assert (row["status"], row["cost_nano_usd"], row["latency_s"]) == ("success", 105, 1.5)
    assert (row["finish_reason"], row["served_model"]) == ("stop", "m")


def test_a_failure_is_booked_with_its_class_and_status() -> None:
    row = book(an_error(ErrorClass.OVERLOADED, status=529))
    assert (row["status"], row["error_class"], row["http_status"]) == ("error", "overloaded", 529)


def test_an_attempt_that_another_plugin_skipped_cost_nothing() -> None:
    row = book(Outcome(status="skipped", skipped="rpm"))
    assert (row["status"], row["cost_nano_usd"]) == ("cancelled", 0)


def test_an_attempt_is_settled_once() -> None:
    services, plugin, attempt = some_services(), LedgerAccounting(), an_attempt(A)
    plugin.begin_attempt(attempt, a_request(), Context(), services)
    plugin.end_attempt(attempt, Outcome(status="success", cost=7), services)
    plugin.end_attempt(attempt, Outcome(status="error", cost=9), services)
    (row,) = services.ledger.attempts("call")
    assert (row["status"], row["cost_nano_usd"]) == ("success", 7)


def test_labels_are_facts_and_tags_and_no_tag_passes_for_a_fact() -> None:
    context = Context(team="search", extra={"ticket": "T1"})
    row = book(None, a_request(tags={"team": "forged", "feature": "chat"}), context)
    assert row["team"] == "search"
    assert row["feature"] is None
    assert row["tags"] == {"team": "forged", "feature": "chat"}
    assert row["extra"] == {"ticket": "T1"}


def test_labels_follow_the_context_from_call_to_call() -> None:
    services, plugin = some_services(), LedgerAccounting()
    for number, team in enumerate(("a", "b", "b", None), 1):
        plugin.begin_attempt(an_attempt(A, number), a_request(), Context(team=team), services)
    assert [row["team"] for row in services.ledger.attempts("call")] == ["a", "b", "b", None]


def test_lazy_messages_are_not_read_for_an_estimate() -> None:
    def read(native: Any) -> Message:
        raise AssertionError("read")

    row = book(None, a_request(messages=LazyMessages(["one", "two"], read)))
    assert row["estimate_nano_usd"] == 200 * 3_000 + 256 * 15_000


def test_an_unpriced_deployment_is_estimated_at_nothing() -> None:
    services = some_services()
    LedgerAccounting().begin_attempt(an_attempt(a_deployment()), a_request(), Context(), services)
    assert services.ledger.attempts("call")[0]["estimate_nano_usd"] == 0


def test_an_answer_of_the_ledger_that_is_on_its_way_is_handed_on() -> None:
    class Slow:
        def __init__(self) -> None:
            self.answer: Future[Any] = Future()

        def open_attempt(self, intent: Any) -> Future[Any]:
            return self.answer

        def settle_attempt(self, *settlement: Any) -> Future[Any]:
            return self.answer

        def close_call(self, record: Any) -> Future[Any]:
            return self.answer

    ledger = Slow()
    services: Services = replace(some_services(), ledger=ledger)  # type: ignore[arg-type]
    plugin, attempt = LedgerAccounting(), an_attempt(A)
    assert plugin.begin_attempt(attempt, a_request(), Context(), services) is ledger.answer
    assert plugin.end_attempt(attempt, Outcome(status="success"), services) is ledger.answer
    assert plugin.end_call(a_call().record, services) is ledger.answer


def test_a_call_is_closed_with_its_record() -> None:
    services, call = some_services(), a_call()
    call.record.status = "success"
    LedgerAccounting().end_call(call.record, services)
    (row,) = services.ledger.calls("call")
    assert row["status"] == "success"
