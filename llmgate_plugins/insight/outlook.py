"""How a budget will stand: what will be spent when its window ends, and the day it runs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from llmgate_plugins.insight.days import Days
from llmgate_plugins.insight.pattern import Band, Pattern
from llmgate_plugins.plugins.limits import Budget, Limit, Limits
from llmgate_plugins.plugins.limits.limit import Mode
from llmgate_plugins.windows import Rolling, Window, window_of

__all__ = ["BudgetOutlook", "budgets_of", "outlook_of"]

_LOOKED_AHEAD: Final = 31
"""Days that windows are looked at which end sooner, and rolling ones, which never end."""
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOutlook:
    """How one budget will stand.

    Attributes:
        key: Of the budget, as limits have it: "budget:team:month@UTC:search".
        group: Scope -> whose it is; empty for all together.
        window: "month@UTC".
        mode: "hard", "soft" or "shadow".
        limit: Nano-dollars in one window.
        spent: Nano-dollars so far in the window.
        expected, low, high: Nano-dollars at the window's end, of a rolling one in a month's
            time; None where there is too little history.
        runs_out: The day on which it is expected to be spent; None if it will not be in this
            window (of windows shorter than a month: in the next 31 days).
        earliest, latest: Between which days that is in four cases of five; None for not at all.
    """

    key: str
    group: Mapping[str, Any]
    window: str
    mode: Mode
    limit: int
    spent: int
    expected: int | None = None
    low: int | None = None
    high: int | None = None
    runs_out: date | None = None
    earliest: date | None = None
    latest: date | None = None

    def to_dict(self) -> dict[str, Any]:
        """The outlook as plain JSON values."""
        days = {name: getattr(self, name) for name in ("runs_out", "earliest", "latest")}
        return {
            "key": self.key,
            "group": dict(self.group),
            "window": self.window,
            "mode": self.mode,
            **{
                f"{name}_nano_usd": getattr(self, name)
                for name in ("limit", "spent", "expected", "low", "high")
            },
            **{name: day and day.isoformat() for name, day in days.items()},
        }


def budgets_of(plugins: Iterable[object]) -> tuple[Budget, ...]:
    """The budgets among the limits of these plugins."""
    limits = (limit for plugin in plugins if isinstance(plugin, Limits) for limit in plugin.limits)
    return tuple(limit for limit in limits if isinstance(limit, Budget))


def outlook_of(
    limit: Limit,
    key: str,
    group: Mapping[str, Any],
    costs: Sequence[int],
    days: Days,
    pattern: Pattern,
    first: int,
) -> BudgetOutlook:
    """How this budget will stand.

    Args:
        costs: Nano-dollars of each of the days.
        pattern: What was learned from them.
        first: The day that the pattern counts from.
    """
    window = window_of(limit.window)
    if window is None:
        raise ValueError(f"a budget without a window never runs out: {key}")
    walk = _Walk(costs, days, pattern, first)
    steps = walk.rolling(round(window.seconds / _DAY)) if isinstance(window, Rolling) else walk.fixed(window)
    reached: dict[str, date] = {}
    for step in steps:
        for name, amount in (
            ("runs_out", step.band.expected),
            ("earliest", step.band.high),
            ("latest", step.band.low),
        ):
            if step.spent + amount >= limit.limit:
                reached.setdefault(name, days.date(step.day))
    end = next((step for step in reversed(steps) if step.of_first_window), steps[-1])
    known = pattern.method != "none"
    return BudgetOutlook(
        key=key,
        group=group,
        window=str(window),
        mode=limit.mode,
        limit=limit.limit,
        spent=steps[0].spent,
        expected=end.spent + round(end.band.expected) if known else None,
        low=end.spent + round(end.band.low) if known else None,
        high=end.spent + round(end.band.high) if known else None,
        **reached,
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """What will be spent in the window at the end of one day."""

    day: int
    spent: int
    band: Band
    of_first_window: bool


class _Walk:
    """Day by day through the windows to come."""

    def __init__(self, costs: Sequence[int], days: Days, pattern: Pattern, first: int) -> None:
        self._costs, self._days, self._pattern, self._first = costs, days, pattern, first
        self._today = len(days) - 1

    def fixed(self, window: Window) -> list[_Step]:
        """To the end of the window that is under way; of windows shorter than a month, 31 days."""
        begin, end = window.bounds(self._days.now)
        horizon = self._today + _LOOKED_AHEAD if end - begin < 28 * _DAY else self._today
        spent = sum(cost for at, cost in zip(self._days.bounds, self._costs, strict=True) if at >= begin)
        steps: list[_Step] = []
        while not steps or steps[-1].day < horizon:
            ahead = [one for one in self._days.ahead(end) if not steps or one[0] > steps[-1].day]
            current = not steps
            steps += [
                _Step(ahead[place][0], spent if current else 0, self._sum(ahead[: place + 1]), current)
                for place in range(len(ahead))
            ]
            begin, end = window.bounds(end)
        return [step for step in steps if step.of_first_window or step.day <= horizon]

    def rolling(self, width: int) -> list[_Step]:
        """The last so many days, at the end of each of the next 31."""
        ahead = self._days.ahead(self._days.bounds[-1] + (_LOOKED_AHEAD + 1) * _DAY)
        steps = []
        for place, (day, _) in enumerate(ahead):
            spent = sum(self._costs[max(day - width + 1, 0) : self._today + 1])
            new = [one for one in ahead[: place + 1] if one[0] > day - width]
            steps.append(_Step(day, spent, self._sum(new), True))
        return steps

    def _sum(self, days: Sequence[tuple[int, float]]) -> Band:
        if self._pattern.method == "none":
            return Band(0.0, 0.0, 0.0)
        return self._pattern.sum([(number - self._first, part) for number, part in days])
