"""A call's life up to its first attempt, for a call that will not be made: admit, narrow, rank, look."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from llmgate_plugins._engine.effects import Await
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.pipeline import ask_admission, note_failure
from llmgate_plugins._engine.selection import select
from llmgate_plugins.errors import HookFailed, RequestDenied, UnknownModel
from llmgate_plugins.foresight import Foreseen, Foresees
from llmgate_plugins.selections import MOST_NAMED
from llmgate_plugins.services import is_pending
from llmgate_plugins.shape import shape_of
from llmgate_plugins.types import Attempt, Deployment

__all__ = ["foresee"]

MOST_ALIASES: Final = 8
"""Fallbacks of which is told who would serve."""


def foresee(flight: Flight, foreseen: list[Foreseen]) -> Steps:
    """Fills the record of a hypothetical call, and `foreseen`. Begins nothing, and tells nobody of an end."""
    call, record = flight.call, flight.call.record
    try:
        yield from ask_admission(flight) or ()
        record.shape = shape_of(call.request)
        if call.answer is not None:
            record.status = "answered"
            return
        chain = list(flight.core.routes.chain(call.request.model, call.request.fallbacks))[:MOST_ALIASES]
        for place, alias in enumerate(chain):
            call.fallbacks = chain[place + 1 :]
            try:
                left, _ = yield from select(flight, alias)
            except UnknownModel:
                if place == 0:
                    raise
                continue
            call.untried = left
            for deployment in islice(left, MOST_NAMED):
                yield from _look_ahead(flight, deployment, alias, foreseen)
    except (RequestDenied, HookFailed, UnknownModel) as error:
        note_failure(call, error)
        record.status = "denied" if isinstance(error, RequestDenied) else "error"


def _look_ahead(flight: Flight, deployment: Deployment, alias: str, foreseen: list[Foreseen]) -> Steps:
    """What those say that would begin an attempt there."""
    call, services = flight.call, flight.core.services
    attempt = Attempt(
        call_id=call.id,
        number=1,
        deployment=deployment,
        alias=alias,
        reason="first",
        started=flight.now(),
        deadline=call.deadline,
    )
    for name, plugin in services.plugins:
        if not isinstance(plugin, Foresees):
            continue
        try:
            said: Any = plugin.foresee(attempt, call.request, call.context, call, services)
            if is_pending(said):
                said = yield Await(said)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            flight.report(name, "foresee", error)
            continue
        foreseen += [Foreseen(deployment=deployment.id, plugin=name, objection=one) for one in said]
