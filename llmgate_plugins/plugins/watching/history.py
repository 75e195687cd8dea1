"""What one hour of spending may look like, from the hours before it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["WEEK", "History"]

WEEK: Final = 168
"""Hours."""
WEEKS: Final = 4
NEIGHBOURS: Final = 1
"""Hours before and after the same hour of the week that count as well: clocks change, habits shift."""
TO_SIGMA: Final = 1.4826
"""The median absolute deviation of a normal distribution, times this, is its standard deviation."""
NARROWEST: Final = 0.15
"""No hour is known better than to about 15 %, however even the last weeks were."""
UNKNOWN: Final = 0.5
"""The spread that is assumed until a day's worth of hours was compared with what was expected."""
DAY: Final = 24
DRIFT: Final = 2 / (DAY + 1)
"""Weight of the newest hour in a moving average of about a day."""


class History:
    """The last four weeks of one subject, hour by hour. Not thread-safe.

    An hour is expected to be like the median of the same hour of the week (and the ones
    beside it) in the weeks before, moved by how far the last day was off. Compared are logarithms,
    since spending is off by factors, not by amounts; the spread is the median absolute
    deviation of what the last weeks were off by, which a few wild hours do not widen.

    Args:
        least: Money below which nothing matters, nano-dollars; also keeps logarithms of nothing finite.
        sigmas, factor: An hour is an anomaly from so many spreads, and so many times what was
            expected, on.
    """

    __slots__ = ("_drift", "_hours", "_least", "_off", "_sigmas", "_spread", "_times", "next_hour")

    def __init__(self, *, least: int, sigmas: float, factor: float) -> None:
        self._least, self._sigmas, self._times = least, sigmas, factor
        self._hours: deque[float] = deque(maxlen=WEEKS * WEEK)
        self._off: deque[float] = deque(maxlen=WEEKS * WEEK)
        self._drift, self._spread = 0.0, UNKNOWN
        self.next_hour: int | None = None
        """Number of the hour (Unix time by 3,600) that comes after all that are known."""

    @property
    def missing(self) -> int:
        """Hours until there is enough to judge by: a week, and the hour after."""
        return max(WEEK + NEIGHBOURS - len(self._hours), 0)

    def extend(self, hours: Iterable[tuple[int, int]]) -> None:
        """Learn whole hours, (number, nano-dollars), oldest first; those left out were without any."""
        for number, spent in hours:
            if self.next_hour is None or number - self.next_hour > WEEKS * WEEK:
                self._hours.clear()
                self.next_hour = number
            while self.next_hour < number:
                self._learn(0)
            if self.next_hour == number:
                self._learn(spent)

    def expected(self) -> int | None:
        """Nano-dollars of the next hour; None while there is too little to judge by."""
        usual = self._usual()
        return None if usual is None else self._money(usual + self._drift)

    def limit(self) -> int | None:
        """Nano-dollars from which on the next hour is an anomaly; None while nobody knows."""
        usual = self._usual()
        if usual is None:
            return None
        level = usual + self._drift
        expected = self._money(level)
        return max(
            self._money(level + self._sigmas * self._spread),
            math.ceil(self._times * expected),
            expected + self._least,
        )

    def _learn(self, spent: int) -> None:
        assert self.next_hour is not None  # noqa: S101 - `extend` has set it
        self.next_hour += 1
        level = math.log(spent + self._soft)
        usual = self._usual()
        if usual is not None:
            off, most = level - usual, 3 * self._spread
            self._off.append(off - self._drift)
            if self.next_hour % DAY == 0 and len(self._off) >= DAY:
                middle = _median(self._off)
                spread = TO_SIGMA * _median([abs(one - middle) for one in self._off])
                self._spread = max(spread, NARROWEST)
            # One wild hour must not move what the next ones are compared with.
            self._drift += DRIFT * (min(max(off - self._drift, -most), most))
        self._hours.append(level)

    def _usual(self) -> float | None:
        found = list(self._alike())
        return _median(found) if found and not self.missing else None

    def _alike(self) -> Iterator[float]:
        hours, size = self._hours, len(self._hours)
        for week in range(1, WEEKS + 1):
            for beside in range(-NEIGHBOURS, NEIGHBOURS + 1):
                place = size - week * WEEK + beside
                if 0 <= place < size:
                    yield hours[place]

    @property
    def _soft(self) -> float:
        return self._least / 4

    def _money(self, level: float) -> int:
        return max(round(math.exp(min(level, 45.0)) - self._soft), 0)


def _median(values: Iterable[float]) -> float:
    """As `statistics.median`, whose module takes longer to import than all detectors together."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
