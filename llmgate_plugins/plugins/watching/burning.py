"""How fast an error budget burns: counts of the last days, and the rules that say when it is too fast."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.alerts import Severity

__all__ = ["WORKBOOK", "Burn", "BurnRule", "Counts"]


@dataclass(frozen=True, slots=True)
class BurnRule:
    """Too fast, if it burns so many times faster than it may, in both windows.

    The long one says that it matters, the short one that it is still so.

    Attributes:
        factor: 1 is just as fast as it may.
        long, short: Seconds.
    """

    factor: float
    long: float
    short: float
    severity: Severity


HOUR: Final = 3600.0
WORKBOOK: Final = (
    BurnRule(14.4, HOUR, HOUR / 12, "critical"),
    BurnRule(6.0, 6 * HOUR, HOUR / 2, "critical"),
    BurnRule(1.0, 72 * HOUR, 6 * HOUR, "warning"),
)
"""Google's: 2 % of a month's budget in an hour, 5 % in six, 10 % in three days. Worst first.

https://sre.google/workbook/alerting-on-slos/, "Multiwindow, Multi-Burn-Rate Alerts", table 5-8.
"""


@dataclass(frozen=True, slots=True)
class Burn:
    """A rule that holds, and what was counted in its long window."""

    rule: BurnRule
    total: int
    bad: int


class _Marks:
    """How far two counters were at the beginning of each of the last steps.

    So the count of any window is one subtraction, however long it is.
    """

    __slots__ = ("_bad", "_total", "index", "size", "step", "until")

    def __init__(self, step: float, size: int, now: float) -> None:
        self.step, self.size = step, size
        self.index = int(now // step)
        self.until = (self.index + 1) * step
        self._total, self._bad = array("q", bytes(8 * size)), array("q", bytes(8 * size))

    def advance(self, now: float, total: int, bad: int) -> None:
        index = int(now // self.step)
        for one in range(max(self.index + 1, index - self.size + 1), index + 1):
            self._total[one % self.size] = total
            self._bad[one % self.size] = bad
        self.index = max(index, self.index)
        self.until = (self.index + 1) * self.step

    def before(self, seconds: float) -> tuple[int, int]:
        slot = (self.index - round(seconds / self.step) + 1) % self.size
        return self._total[slot], self._bad[slot]


class Counts:
    """Good and bad events of the last three days, in ten kilobytes. Not thread-safe.

    Minutes for windows up to six hours, quarters of an hour for longer ones. Time before the
    first event counts as quiet, with as many events and none of them bad: a process that has just
    begun neither cries out at its first failure nor is deaf for a day.
    """

    __slots__ = ("_hours", "_minutes", "bad", "first", "total")

    def __init__(self, now: float) -> None:
        self.first = now
        self.total = self.bad = 0
        self._minutes = _Marks(60.0, 361, now)
        self._hours = _Marks(900.0, 289, now)

    def add(self, now: float, bad: int, total: int = 1) -> None:
        """Count events that were just seen."""
        if now >= self._minutes.until:
            self._advance(now)
        self.total += total
        self.bad += bad

    def over(self, now: float, seconds: float) -> tuple[int, int]:
        """(all, bad) of the last so many seconds, up to a minute less (of long windows, 15 minutes)."""
        self._advance(now)
        marks = self._minutes if seconds <= 6 * HOUR else self._hours
        total, bad = marks.before(seconds)
        return self.total - total, self.bad - bad

    def burn(self, now: float, budget: float, least: int) -> Burn | None:
        """The worst rule that holds.

        Args:
            budget: The share of events that may be bad.
            least: So many must have been bad in the long window.
        """
        for rule in WORKBOOK:
            total, bad = self.over(now, rule.long)
            if bad < least or self._share(now, total, bad, rule.long) < rule.factor * budget:
                continue
            if self._share(now, *self.over(now, rule.short), rule.short) >= rule.factor * budget:
                return Burn(rule, total, bad)
        return None

    def _share(self, now: float, total: int, bad: int, seconds: float) -> float:
        if not total:
            return 0.0
        return bad / total * min(1.0, (now - self.first) / seconds)

    def _advance(self, now: float) -> None:
        self._minutes.advance(now, self.total, self.bad)
        self._hours.advance(now, self.total, self.bad)
