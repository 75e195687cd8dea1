"""Goals for calls, and the error budget by which a choice is tightened and relaxed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.plugins.observations import SPEED, Experience
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Scope

__all__ = ["Budget", "Goal", "goals_of"]

MEMORY: Final = 600.0
"""Seconds in which a call fades to a third in the error budget."""
PRIOR: Final = 20.0
"""So many calls that burn half of the budget stand for those that have not been yet."""
DOUBT: Final = 5.0
"""So many answers that just keep the goal stand for those that a deployment has not given yet."""
BURNT: Final = 0.9
SPARED: Final = 0.5
"""Above so much of the budget the choice is tight; below so much it is relaxed again."""
_OTHERS_FAULT: Final = (Scope.REQUEST, Scope.CALLER)


@dataclass(frozen=True, slots=True)
class Goal:
    """Which share of calls may miss what.

    Attributes:
        name: "p95", "success", ...
        allowed: The share that may miss it: 0.05 of a p95.
        seconds: Within which the others end; None for a goal of success.
        relaxed, tight: The share that a deployment may miss to be chosen.
    """

    name: str
    allowed: float
    seconds: float | None

    @property
    def relaxed(self) -> float:
        """While there is slack: twice what is allowed."""
        return min(2 * self.allowed, (1 + self.allowed) / 2)

    @property
    def tight(self) -> float:
        """While the budget is burnt: half of what is allowed."""
        return self.allowed / 2

    def missed_by(self, known: Experience, now: float) -> float:
        """The share that a deployment misses, as far as it is known: what is allowed where nothing is."""
        doubt = DOUBT * self.allowed
        if self.seconds is None:
            successes, failures = known.judged_at(now)
            return (failures + doubt) / (successes + failures + DOUBT)
        missed = known.durations.missed(self.seconds)
        fade = math.exp((known.seen - now) / SPEED)
        return (missed.slow * fade + doubt) / (missed.count * fade + DOUBT)


def goals_of(
    p50: float | None, p95: float | None, p99: float | None, success: float | None
) -> tuple[Goal, ...]:
    """The goals that are set.

    Raises:
        ValueError: One makes no sense; the message names it.
    """
    found = []
    for name, seconds, allowed in (("p50", p50, 0.5), ("p95", p95, 0.05), ("p99", p99, 0.01)):
        if seconds is not None:
            found.append(Goal(name, allowed, positive(name, seconds)))
    if success is not None:
        if not 0 < positive("success", success) < 1:
            raise ValueError(f"success must be below 1, not {success!r}: nothing is always well")
        found.append(Goal("success", 1 - success, None))
    return tuple(found)


class Budget:
    """How much of what the goals allow to be missed was missed lately, by the calls of one feature.

    Attributes:
        is_tight: Whether the choice must be tight. It becomes so when 9/10 of the budget are burnt,
            and is relaxed when it is half: a choice that sways at one mark would change for ever.
    """

    __slots__ = ("_bad", "_calls", "_ended", "_goals", "is_tight")

    def __init__(self, goals: tuple[Goal, ...]) -> None:
        self._goals = goals
        self._calls = [0.0] * len(goals)
        self._bad = [0.0] * len(goals)
        self._ended = 0.0
        self.is_tight = False

    @property
    def burnt(self) -> float:
        """Which part of the budget, of the goal that is worst off; 1 is all of it."""
        return max(
            (bad / goal.allowed + PRIOR / 2) / (calls + PRIOR)
            for goal, bad, calls in zip(self._goals, self._bad, self._calls, strict=True)
        )

    def ended(self, record: DecisionRecord, now: float) -> None:
        """Count a call, unless it is the caller's own fault that it failed, or the caller left."""
        status = record.status
        if status == "error":
            failure = record.attempts[-1][1].failure if record.attempts else None
            if failure is not None and failure.scope in _OTHERS_FAULT:
                return
        elif status != "success":
            return
        fade = math.exp((self._ended - now) / MEMORY) if self._ended else 0.0
        self._ended = now
        for place, goal in enumerate(self._goals):
            self._calls[place] *= fade
            self._bad[place] *= fade
            if goal.seconds is None:
                bad = status == "error"
            elif status == "success":
                bad = record.latency > goal.seconds
            else:
                continue
            self._calls[place] += 1.0
            self._bad[place] += bad
        burnt = self.burnt
        if burnt >= BURNT:
            self.is_tight = True
        elif burnt <= SPARED:
            self.is_tight = False

    def strain(self, known: Experience, now: float) -> tuple[float, float, float]:
        """How close a deployment comes to what may be chosen now, by the goal that it misses most.

        Returns:
            (part of what it may miss, above 1 it may not be chosen; the share that it misses; the
            share that it may miss).
        """
        tight, found = self.is_tight, (-1.0, 0.0, 0.0)
        for goal in self._goals:
            most, missed = goal.tight if tight else goal.relaxed, goal.missed_by(known, now)
            found = max(found, (missed / most, missed, most))
        return found
