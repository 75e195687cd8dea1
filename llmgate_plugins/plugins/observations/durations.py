"""How long the last answers took: quantiles, and how often a goal was missed."""

from __future__ import annotations

import math
from array import array
from typing import Final

__all__ = ["Durations", "Missed"]

KEPT: Final = 128


class Missed:
    """How often answers took longer than a goal, the old ones fading.

    Attributes:
        count: Answers, those that have faded as parts of one.
        slow: Those of them that took longer.
    """

    __slots__ = ("count", "slow")

    def __init__(self) -> None:
        self.count = self.slow = 0.0


class Durations:
    """The last 128 durations, and for each goal that somebody watches how often it was missed."""

    __slots__ = ("_place", "goals", "last")

    def __init__(self) -> None:
        self.last = array("d")
        self.goals: dict[float, Missed] = {}
        self._place = 0

    def add(self, seconds: float, fade: float) -> None:
        """One more, when the others have faded to `fade`, 0 to 1, since the last."""
        last = self.last
        if len(last) < KEPT:
            last.append(seconds)
        else:
            last[self._place] = seconds
            self._place = (self._place + 1) % KEPT
        for goal, missed in self.goals.items():
            missed.count = missed.count * fade + 1.0
            missed.slow = missed.slow * fade + (seconds > goal)

    def missed(self, goal: float) -> Missed:
        """How often this many seconds were not kept; from now on it is counted."""
        found = self.goals.get(goal)
        if found is None:
            found = Missed()
            found.count = float(len(self.last))
            found.slow = float(sum(seconds > goal for seconds in self.last))
            self.goals = {**self.goals, goal: found}  # a new one: somebody may be counting
        return found

    def quantile(self, share: float) -> float | None:
        """The seconds within which this share of the last 128 was over; None without any."""
        if not self.last:
            return None
        return sorted(self.last)[max(math.ceil(share * len(self.last)), 1) - 1]
