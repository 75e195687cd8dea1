"""What a gateway's explanations are made of: records of past calls, and what this process does not know."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence, Sized

from llmgate_plugins.errors import UnknownCall
from llmgate_plugins.foresight import Explanation, Foreseen
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Ledger, Services
from llmgate_plugins.state import MemoryState

__all__ = ["explained", "recalled", "supposed_id"]


def supposed_id() -> str:
    """An id for a call that will not be made. The gateway's own generator would be moved on by it."""
    return f"supposed-{uuid.uuid4()}"


def recalled(call_id: str, recent: Sequence[DecisionRecord], ledger: Ledger) -> DecisionRecord:
    """The record of a call by its id, or by the beginning of it.

    Raises:
        UnknownCall: There is none, or there are several.
    """
    for record in reversed(recent):
        if record.call_id == call_id:
            return record
    from llmgate_plugins.insight.calls import find_calls  # SQLAlchemy, which calls do not need

    alike: dict[str, DecisionRecord] = {}
    if call_id:
        alike = {one.call_id: one for one in recent if one.call_id.startswith(call_id)}
        for row in find_calls(ledger, call_id):
            if row["call_id"] == call_id:
                return DecisionRecord.from_row(row)
            alike.setdefault(row["call_id"], DecisionRecord.from_row(row))
    if len(alike) == 1:
        return next(iter(alike.values()))
    raise UnknownCall(call_id, sorted(alike), durable=ledger.durable)


def explained(
    record: DecisionRecord, foreseen: Sequence[Foreseen], services: Services, recent: Sized
) -> Explanation:
    """What would become of a request, with what is not known here."""
    return Explanation(
        record=record, foreseen=tuple(foreseen), unknown=tuple(_not_known(services, len(recent)))
    )


def _not_known(services: Services, calls: int) -> Iterator[str]:
    if not calls:
        yield (
            "This process has made no calls: it knows nothing of anybody's health, latency or success; "
            "a running program may have ejected deployments, and rank by what it has seen."
        )
    else:
        yield "Health, latency and success are as this process has seen them; other processes may know more."
    if isinstance(services.state, MemoryState):
        durable = getattr(services.ledger, "durable", False)
        yield (
            "Limits are kept in the memory of each process: what is told of them is "
            + ("what the ledger says." if durable else "what this process has used.")
        )
