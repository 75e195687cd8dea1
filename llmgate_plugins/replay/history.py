"""What each deployment did around a moment: from this is drawn what it might have done for another call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from llmgate_plugins.draws import draw
from llmgate_plugins.replay.recorded import RecordedCall
from llmgate_plugins.types import Attempt, Deployment, Outcome, Usage

__all__ = ["History", "Played"]

KEPT: Final = 256
"""Attempts of one deployment that are drawn from: the latest, and what lies up to a batch ahead."""
USUAL_OUTPUT: Final = 256
"""Output tokens of an answer of which nothing is known."""
UNKNOWN_LATENCY: Final = 1.0
"""Seconds that pass where nothing at all is known; never reported as a latency."""
LATER: Final = 0.001
"""Seconds by which one that lost to its hedge is taken to have been slower at the least."""


@dataclass(frozen=True, slots=True)
class Played:
    """How a replayed attempt goes.

    Attributes:
        outcome: Status, times, usage and failure.
        model: The model that served, by the provider's word.
        source: "recorded": what this very attempt did; "drawn": what this deployment did for other
            calls; "unknown": nothing is known of this deployment, so it answers, and its
            latency means nothing.
    """

    outcome: Outcome
    model: str | None
    source: str


class _Known:
    __slots__ = ("answers", "ends", "written")

    def __init__(self) -> None:
        self.ends: deque[tuple[Outcome, str]] = deque(maxlen=KEPT)
        self.answers = 0
        self.written = 0

    def usual_output(self) -> float | None:
        return self.written / self.answers if self.answers else None


class History:
    """Takes recorded calls in, and says how attempts go that were never made.

    Args:
        seed: Another seed draws other outcomes.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = str(seed)
        self._known: dict[str, _Known] = {}

    def add(self, calls: Iterable[RecordedCall]) -> None:
        """Take note of what their attempts did. What a caller cut short says nothing."""
        for call in calls:
            for attempt, outcome in call.record.attempts:
                if outcome.status not in ("success", "error"):
                    continue
                known = self._known.setdefault(attempt.deployment.id, _Known())
                known.ends.append((outcome, attempt.deployment.model))
                if outcome.ok:
                    known.answers += 1
                    known.written += outcome.usage.total_output

    def drawn(self, deployment: Deployment, call: RecordedCall, number: int) -> Played:
        """What this deployment might have done for this call, as its attempt of this number."""
        known = self._known.get(deployment.id)
        record = call.record
        if known is None or not known.ends:
            before = next((end for _, end in record.attempts if end.ok), None)
            latency = before.latency if before is not None else UNKNOWN_LATENCY
            outcome = Outcome(
                status="success",
                usage=self._usage(deployment, call),
                latency=latency,
                first_token=latency if record.stream else None,
                finish_reason="stop",
            )
            return Played(outcome, deployment.model, "unknown")
        chance = draw("replay", self._seed, record.call_id, deployment.id, str(number))
        outcome, model = known.ends[int(chance * len(known.ends))]
        if outcome.ok:
            first = outcome.first_token
            if record.stream and first is None:
                first = outcome.latency
            outcome = replace(
                outcome,
                usage=self._usage(deployment, call),
                first_token=first if record.stream else None,
                quota=None,
            )
        return Played(outcome, model, "drawn")

    def slower(self, deployment: Deployment, call: RecordedCall, number: int, than: float) -> Played:
        """What it might have done that it took longer than that."""
        played = self.drawn(deployment, call, number)
        if played.outcome.latency > than:
            return played
        return replace(played, outcome=replace(played.outcome, latency=than + LATER))

    def _usage(self, deployment: Deployment, call: RecordedCall) -> Usage:
        """What this call would use here: it reads as much, and writes as its models usually do."""
        told = next(
            ((attempt, end) for attempt, end in reversed(call.record.attempts) if end.usage.total), None
        )
        usual = self._usual(deployment.id)
        if told is None:
            shape = call.record.shape
            written = usual if usual is not None else USUAL_OUTPUT
            bound = shape.get("max_completion_tokens") or shape.get("max_tokens") or written
            read = int(shape.get("input_tokens", 0))
            return Usage(input=max(read, 1), output=max(1, round(min(written, bound))), estimated=True)
        attempt, end = told
        here = self._usual(attempt.deployment.id)
        written = float(end.usage.total_output)
        if usual is not None and here:
            written *= usual / here
        return Usage(input=max(end.usage.total_input, 1), output=max(1, round(written)), estimated=True)

    def _usual(self, id: str) -> float | None:
        known = self._known.get(id)
        return None if known is None else known.usual_output()


def recorded(attempt: Attempt, outcome: Outcome) -> Played:
    """The same again."""
    return Played(outcome, attempt.deployment.model, "recorded")
