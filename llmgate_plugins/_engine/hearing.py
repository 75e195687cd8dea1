"""Feedback on a call that is over: into the books, then to everybody who learns from it."""

from __future__ import annotations

from llmgate_plugins._engine.dispatch import tell
from llmgate_plugins._engine.effects import Await
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback, is_pending

__all__ = ["hear"]


def hear(flight: Flight, feedback: Feedback, record: DecisionRecord | None) -> Steps:
    """Raises what the ledger raises; a plugin that fails is reported, and the others are told."""
    services = flight.core.services
    kept = services.ledger.add_feedback(feedback)
    if is_pending(kept):
        yield Await(kept)
    hook, given = flight.core.hooks.receive_feedback, (feedback, record, services)
    yield from tell(flight, hook, given, hook.ask_all(*given))
