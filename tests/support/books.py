"""Rows for tests of ledgers."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from unittest import mock

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.promises import Promise
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Settlement
from llmgate_plugins.types import Attempt, Deployment, Endpoint, Failure, Outcome, Price, Usage

__all__ = ["DEPLOYMENT", "answer", "impatient", "intent", "record", "settlement"]

DEPLOYMENT = Deployment(
    id="openai-eu",
    alias="fast",
    provider="openai",
    model="gpt-4o-mini",
    region="eu",
    price=Price(input=150, output=600, source="litellm", as_of="2026-11-01"),
    endpoint=Endpoint(),
)


def answer(pending: Any) -> Any:
    """The answer, waited for if it is on its way."""
    return pending.result(timeout=30) if isinstance(pending, Promise | Future) else pending


def impatient(url: str) -> SqlLedger:
    """A ledger that waits for a locked file for a tenth of a second."""
    with mock.patch("llmgate_plugins.ledger.sqlite.PATIENCE", 0.1):
        return SqlLedger(url)


def intent(call_id: str = "c1", number: int = 1, **fields: Any) -> AttemptIntent:
    known = {"at": 1_000.0, "deployment": DEPLOYMENT, "alias": "fast", "reason": "first", "estimate": 70}
    return AttemptIntent(call_id=call_id, number=number, **(known | fields))


def settlement(status: str = "success", cost: int = 50, **fields: Any) -> Settlement:
    known: dict[str, Any] = {"usage": Usage(input=10, output=5, reasoning=2), "latency": 0.5}
    return Settlement(status=status, cost=cost, **(known | fields))


def record(
    call_id: str = "c1",
    costs: tuple[int, ...] = (50,),
    context: Context = NOBODY,
    *,
    error: Exception | None = None,
    failure: Failure | None = None,
    **fields: Any,
) -> DecisionRecord:
    """A closed call with an attempt per cost; with an error, the last attempt failed."""
    attempts = []
    for number, cost in enumerate(costs, 1):
        failed = error is not None and number == len(costs)
        attempt = Attempt(
            call_id=call_id, number=number, deployment=DEPLOYMENT, alias="fast", reason="first", started=0.0
        )
        outcome = Outcome(
            status="error" if failed else "success",
            error=error if failed else None,
            failure=failure if failed else None,
            cost=cost,
            usage=Usage(input=10, output=5, reasoning=2),
            latency=0.5,
        )
        attempts.append((attempt, outcome))
    known = {"model": "fast", "at": 1_000.0, "status": "error" if error else "success", "latency": 0.6}
    return DecisionRecord(call_id=call_id, context=context, attempts=attempts, **(known | fields))
