"""The same selection under another policy, for the record alone."""

from __future__ import annotations

from dataclasses import replace

from llmgate_plugins._engine.echoes import said_by
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.selection import select
from llmgate_plugins.context import Call
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.second_opinions import SECOND_OPINION, SecondOpinion

__all__ = ["select_twice"]


def select_twice(flight: Flight, alias: str) -> Steps:
    """As `select`, once it is filled in what the second opinion's policy would have chosen."""
    yield from _ask(flight, alias, flight.call.stash[SECOND_OPINION])
    return (yield from select(flight, alias))


def _ask(flight: Flight, alias: str, second: SecondOpinion) -> Steps:
    """Whatever goes wrong concerns nobody."""
    call = flight.call
    context = replace(call.context, policy=second.policy)
    record = DecisionRecord(
        call_id=call.id,
        model=call.record.model,
        at=call.record.at,
        context=context,
        stream=call.record.stream,
    )
    other = Call(call.id, call.request, context, call.started, call.deadline, record, named=call.named)
    other.hypothetical = True
    other.fallbacks = call.fallbacks
    hypothetical = replace(flight, call=other)
    try:
        left, _ = yield from select(hypothetical, alias)
    except Exception as error:  # noqa: BLE001 - it denies the call, or a plugin failed; it is only a question
        second.error = said_by(error, call.request)
        return
    second.error = None
    second.found.append((record.selections[-1], left[0] if left else None))
