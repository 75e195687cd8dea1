"""The days that a forecast looks back on and ahead to, as the calendar of a place has them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from llmgate_plugins.insight.pattern import Pattern, pattern_of
from llmgate_plugins.windows import Calendar

__all__ = ["HISTORY", "Days", "Spent", "learned"]

HISTORY: Final = 56
"""Whole days that a forecast is learned from: eight weeks."""
_LATE: Final = 3600.0
"""Seconds by which a day that begins later than others has missed a part of what it would have cost."""


@dataclass(frozen=True, slots=True)
class Days:
    """The days that are looked at.

    Attributes:
        bounds: When each begins, Unix time; the last is today.
        now: Unix time.
        zone: Where they begin.
    """

    bounds: tuple[float, ...]
    now: float
    zone: str

    @classmethod
    def of(cls, since: float, now: float, zone: str) -> Days:
        """All since the one that holds `since`, and `HISTORY` days at least."""
        calendar = Calendar("day", zone)
        bounds = [calendar.bounds(now)[0]]
        while bounds[-1] > since or len(bounds) <= HISTORY:
            bounds.append(calendar.bounds(bounds[-1] - 1)[0])
        return cls(tuple(reversed(bounds)), now, zone)

    def __len__(self) -> int:
        return len(self.bounds)

    def date(self, number: int) -> date:
        """The date of day `number`, counted from the first; days to come as well."""
        first = datetime.fromtimestamp(self.bounds[0], UTC).astimezone(ZoneInfo(self.zone)).date()
        return date.fromordinal(first.toordinal() + number)

    def number_at(self, at: float) -> int:
        """Which day holds this moment."""
        local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(self.zone)).date()
        return local.toordinal() - self.date(0).toordinal()

    def ahead(self, until: float) -> list[tuple[int, float]]:
        """What is left of today, and the days to come until then: (number, how much of it)."""
        today = len(self) - 1
        begins, ends = Calendar("day", self.zone).bounds(self.now)
        last = self.number_at(until - 1)
        return [
            (today, (ends - self.now) / (ends - begins)),
            *((day, 1.0) for day in range(today + 1, last + 1)),
        ]


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent on each of some days.

    Attributes:
        costs: Nano-dollars.
        began: Unix time of each day's first spending; infinite where there was none.
    """

    costs: list[int]
    began: list[float]

    @classmethod
    def nothing(cls, days: Days) -> Spent:
        """Nothing, on all of these."""
        return cls([0] * len(days), [math.inf] * len(days))

    def add(self, other: Spent) -> None:
        """What others spent on the same days."""
        for place, cost in enumerate(other.costs):
            self.costs[place] += cost
            self.began[place] = min(self.began[place], other.began[place])


def learned(spent: Spent, days: Days) -> tuple[Pattern, int]:
    """What can be learned from whole days, and the number of the first of them.

    Days before anything was spent are no history: nobody was there yet. Nor is the first one,
    where it began later in the day than others do: nobody knows what the whole would have cost."""
    today = len(days) - 1
    oldest = max(today - HISTORY, 0)
    first = next((day for day in range(oldest, today) if spent.costs[day]), today)
    others = [spent.began[day] - days.bounds[day] for day in range(first + 1, today) if spent.costs[day]]
    if first > oldest and others:
        since = spent.began[first] - days.bounds[first]
        first += since > statistics.median_low(others) + _LATE
    return pattern_of(spent.costs[first:today]), first
