"""The days that a forecast looks back on and ahead to, as the calendar of a place has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from llmgate_plugins.insight.pattern import Pattern, pattern_of
from llmgate_plugins.windows import Calendar

__all__ = ["HISTORY", "Days", "learned"]

HISTORY: Final = 56
"""Whole days that a forecast is learned from: eight weeks."""


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


def learned(costs: Sequence[int], days: Days) -> tuple[Pattern, int]:
    """What can be learned from whole days, and the number of the first of them.

    Days before anything was spent are no history: nobody was there yet."""
    whole = costs[: len(days) - 1][-HISTORY:]
    offset = len(days) - 1 - len(whole)
    begun = next((place for place, cost in enumerate(whole) if cost), len(whole))
    return pattern_of(whole[begun:]), offset + begun
