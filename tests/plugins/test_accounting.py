"""What the books say of attempts and calls."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from support.values import DEAR, a_call, a_deployment, a_request, an_attempt, an_error, some_services

from llmgate_plugins import Gateway
from llmgate_plugins.context import Call, Context
from llmgate_plugins.errors import StorageError
from llmgate_plugins.plugins import LedgerAccounting, Policies, Policy
from llmgate_plugins.plugins.holds import HOLDS, Hold
from llmgate_plugins.promises import Promise
from llmgate_plugins.records import Selection
from llmgate_plugins.services import Services
from llmgate_plugins.testing import ScriptedProvider
from llmgate_plugins.types import ErrorClass, LazyMessages, Message, Outcome, Request, Usage

A = a_deployment("a", price=DEAR)


def book(
    outcome: Outcome | None,
    request: Request | None = None,
    context: Context | None = None,
    call: Call | None = None,
) -> dict[str, Any]:
    """One attempt, and its row."""
    services, plugin, attempt, call = some_services(), LedgerAccounting(), an_attempt(A), call or a_call()
    given = (attempt, request or a_request(), context or Context(), call, services)
    assert plugin.begin_attempt(*given) is None
    if outcome is not None:
        assert plugin.end_attempt(attempt, outcome, call, services) is None
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


def test_a_failure_is_booked_with_its_class_and_status_and_who_is_to_blame() -> None:
    row = book(an_error(ErrorClass.OVERLOADED, status=529))
    assert (row["status"], row["error_class"], row["http_status"]) == ("error", "overloaded", 529)
    assert row["scope"] == "deployment"


def test_what_limits_hold_for_an_attempt_stands_in_its_row() -> None:
    call = a_call()
    call.stash[HOLDS] = {1: Hold(nano_usd=900, tokens=40, expires=1_234.5), 2: Hold(nano_usd=1)}
    row = book(None, call=call)
    assert (row["reserve_nano_usd"], row["reserve_tokens"], row["expires"]) == (900, 40, 1_234.5)
    row = book(None)
    assert (row["reserve_nano_usd"], row["reserve_tokens"], row["expires"]) == (0, 0, None)


def test_a_row_names_the_selection_that_chose_it_and_what_was_asked_for() -> None:
    call = a_call()
    call.record.selections += [Selection(alias="fast", considered=("a",))] * 2
    row = book(None, call=call)
    assert row["decision_id"] == "call.2"
    assert (row["requested_model"], row["operation"], row["stream"]) == ("fast", "chat", False)


def test_the_policy_of_a_row_is_the_one_that_was_applied() -> None:
    named, plugin = Context(policy="eu", key="key-7"), Policies({"eu": Policy(version="v3"), "default": {}})
    call = a_call()
    plugin.admit_request(a_request(), named, call)
    row = book(None, context=named, call=call)
    assert (row["policy"], row["policy_version"], row["key_id"]) == ("eu", "v3", "key-7")
    call = a_call()
    plugin.admit_request(a_request(), Context(), call)
    row = book(None, call=call)
    assert row["policy"] == "default"
    assert len(row["policy_version"]) == 8
    assert book(None, context=named)["policy"] == "eu"


def test_the_trace_of_a_row_is_the_one_the_application_is_in() -> None:
    def traced() -> str | None:
        gateway = Gateway([A], transport=ScriptedProvider(), plugins=[LedgerAccounting()], defaults=False)
        gateway.complete("a", "Hi")
        (row,) = gateway.services.ledger.attempts()
        return row["trace_id"]

    trace_id = 0x0AF7651916CD43DD8448EB211C80319C
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(trace_id, 1, is_remote=True))):
        assert traced() == "0af7651916cd43dd8448eb211c80319c"
    assert traced() is None


def test_an_attempt_that_another_plugin_skipped_cost_nothing() -> None:
    row = book(Outcome(status="skipped", skipped="rpm"))
    assert (row["status"], row["cost_nano_usd"]) == ("skipped", 0)


def test_an_attempt_is_settled_once() -> None:
    services, plugin, attempt = some_services(), LedgerAccounting(), an_attempt(A)
    call = a_call()
    plugin.begin_attempt(attempt, a_request(), Context(), call, services)
    plugin.end_attempt(attempt, Outcome(status="success", cost=7), call, services)
    plugin.end_attempt(attempt, Outcome(status="error", cost=9), call, services)
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
        plugin.begin_attempt(an_attempt(A, number), a_request(), Context(team=team), a_call(), services)
    assert [row["team"] for row in services.ledger.attempts("call")] == ["a", "b", "b", None]


def test_lazy_messages_are_not_read_for_an_estimate() -> None:
    def read(native: Any) -> Message:
        raise AssertionError("read")

    row = book(None, a_request(messages=LazyMessages(["one", "two"], read)))
    assert row["estimate_nano_usd"] == 200 * 3_000 + 256 * 15_000


def test_an_unpriced_deployment_is_estimated_at_nothing() -> None:
    services = some_services()
    LedgerAccounting().begin_attempt(an_attempt(a_deployment()), a_request(), Context(), a_call(), services)
    assert services.ledger.attempts("call")[0]["estimate_nano_usd"] == 0


class Slow:
    """A ledger whose answers are on their way."""

    def __init__(self) -> None:
        self.opened: Promise[None] = Promise()
        self.settled: Promise[bool] = Promise()
        self.closed: Promise[None] = Promise()

    def open_attempt(self, intent: Any) -> Promise[None]:
        return self.opened

    def settle_attempt(self, *settlement: Any) -> Promise[bool]:
        return self.settled

    def close_call(self, record: Any) -> Promise[None]:
        return self.closed


def test_a_call_waits_for_its_intent_and_at_its_end_for_all_that_is_on_its_way() -> None:
    ledger, call = Slow(), a_call()
    services: Services = replace(some_services(), ledger=ledger)  # type: ignore[arg-type]
    plugin, attempt = LedgerAccounting(), an_attempt(A)
    assert plugin.begin_attempt(attempt, a_request(), Context(), call, services) is ledger.opened
    assert plugin.end_attempt(attempt, Outcome(status="success"), call, services) is None
    ended = plugin.end_call(call.record, call, services)
    ledger.closed.set_result(None)
    assert not ended.done()
    ledger.settled.set_result(True)
    assert ended.result(timeout=30) is None


def test_a_settlement_that_fails_is_told_at_the_end_of_the_call() -> None:
    ledger, call = Slow(), a_call()
    services: Services = replace(some_services(), ledger=ledger)  # type: ignore[arg-type]
    plugin = LedgerAccounting()
    plugin.end_attempt(an_attempt(A), Outcome(status="success"), call, services)
    ledger.settled.set_exception(StorageError("no room"))
    ended = plugin.end_call(call.record, call, services)
    ledger.closed.set_result(None)
    with pytest.raises(StorageError, match="no room"):
        ended.result(timeout=30)


async def test_a_ledger_of_another_kind_may_answer_with_futures() -> None:
    ledger, call = Slow(), a_call()
    ledger.settled, ledger.closed = Future(), Future()  # type: ignore[assignment]
    services: Services = replace(some_services(), ledger=ledger)  # type: ignore[arg-type]
    plugin = LedgerAccounting()
    plugin.end_attempt(an_attempt(A), Outcome(status="success"), call, services)
    ended = asyncio.ensure_future(plugin.end_call(call.record, call, services))
    ledger.closed.set_result(None)
    await asyncio.sleep(0.01)
    assert not ended.done()
    ledger.settled.set_result(True)
    assert await ended is None


def test_a_call_is_closed_with_its_record() -> None:
    services, call = some_services(), a_call()
    call.record.status = "success"
    LedgerAccounting().end_call(call.record, call, services)
    (row,) = services.ledger.calls("call")
    assert row["status"] == "success"
