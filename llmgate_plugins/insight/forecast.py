"""Forecasts: what the month will have cost, between what, and the day a budget runs out."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from llmgate_plugins.insight.books import Books, open_books
from llmgate_plugins.insight.conditions import Condition, Where, conditions_of
from llmgate_plugins.insight.days import Days, Spent, learned
from llmgate_plugins.insight.facts import fact_of, shadows
from llmgate_plugins.insight.outlook import BudgetOutlook, outlook_of
from llmgate_plugins.insight.pattern import ENOUGH, LEAST, Method
from llmgate_plugins.insight.question import checked, names_of
from llmgate_plugins.ledger.schema import attempts
from llmgate_plugins.plugins.limits import Budget, Limit
from llmgate_plugins.plugins.limits.counts import Rule, rules_of
from llmgate_plugins.services import Ledger, ShadowCalls
from llmgate_plugins.types import NANO
from llmgate_plugins.windows import Calendar, Fixed, Window

__all__ = ["Forecast", "ForecastRow", "read_forecast"]

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """What one group will have spent at the end of the month.

    Attributes:
        group: Dimension -> value.
        spent: Nano-dollars so far in this month.
        expected, low, high: Nano-dollars at its end; in four cases of five it is between `low`
            and `high`. None where there is too little history to say anything.
        method: "trend" (weekday profile times a linear trend), "run rate" (every day like the
            mean of the last week) or "none".
        days: Whole days of history.
        note: Why it is less sure than it could be; empty where it is not.
    """

    group: Mapping[str, Any]
    spent: int
    expected: int | None
    low: int | None
    high: int | None
    method: Method
    days: int
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        amounts = {name: getattr(self, name) for name in ("spent", "expected", "low", "high")}
        return {
            **self.group,
            **{f"{name}_nano_usd": amount for name, amount in amounts.items()},
            **{f"{name}_usd": None if amount is None else amount / NANO for name, amount in amounts.items()},
            "method": self.method,
            "days": self.days,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Spending at the end of the month. Iterates over its rows.

    Attributes:
        by: The dimensions.
        now: Unix time of what is known.
        ends: Unix time at which the month ends in this zone.
        zone: Where days and months begin.
        rows: Those that will spend most first.
        totals: All of it together, forecast from its own days: what is expected of the groups
            adds up to nearly that, bands do not add up at all.
        budgets: How budgets will stand.
    """

    by: tuple[str, ...]
    now: float
    ends: float
    zone: str
    rows: tuple[ForecastRow, ...]
    totals: ForecastRow
    budgets: tuple[BudgetOutlook, ...]

    def __iter__(self) -> Iterator[ForecastRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def month(self) -> str:
        """ "2026-11"."""
        return datetime.fromtimestamp(self.now, ZoneInfo(self.zone)).strftime("%Y-%m")

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain JSON values."""
        return {
            "month": self.month,
            "by": list(self.by),
            "now": self.now,
            "ends": self.ends,
            "zone": self.zone,
            "confidence": 0.8,
            "rows": [row.to_dict() for row in self.rows],
            "totals": self.totals.to_dict(),
            "budgets": [budget.to_dict() for budget in self.budgets],
        }


def read_forecast(
    ledger: Ledger | str,
    *,
    by: str | Sequence[str] = (),
    zone: str = "UTC",
    where: Where = (),
    budgets: Sequence[Budget] = (),
    shadow_calls: ShadowCalls = "without",
    now: float | None = None,
) -> Forecast:
    """Forecast what the month that is under way will have cost at its end.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        by: Dimensions, as of a report, without those of time.
        zone: IANA name: where days and months begin.
        where: Conditions, as of a report; budgets are not touched by them.
        budgets: Of which to say when they run out. Those with windows of less than a day are
            left out.
        shadow_calls: Whether what shadows of calls cost counts: "without", "with" or "only";
            budgets say that themselves.
        now: Unix time; None for the machine's clock.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    names = names_of(by)
    now = time.time() if now is None else now
    begins, ends = Calendar("month", zone).bounds(now)
    with open_books(ledger) as books:
        days = Days.of(begins, now, zone)
        series = _series(books, names, conditions_of(where), checked(shadow_calls), days)
        totals = Spent.nothing(days)
        for spent in series.values():
            totals.add(spent)
        rows = [
            _row(dict(zip(names, key, strict=True)), spent, days, begins, ends)
            for key, spent in series.items()
            if names and any(spent.costs)
        ]
        outlooks = list(_outlooks(books, budgets, now))
    rows.sort(key=lambda row: (-(row.expected if row.expected is not None else row.spent), str(row.group)))
    return Forecast(
        by=names,
        now=now,
        ends=ends,
        zone=zone,
        rows=tuple(rows),
        totals=_row({}, totals, days, begins, ends),
        budgets=tuple(outlooks),
    )


def _row(group: Mapping[str, Any], series: Spent, days: Days, begins: float, ends: float) -> ForecastRow:
    spent = sum(cost for at, cost in zip(days.bounds, series.costs, strict=True) if at >= begins)
    pattern, first = learned(series, days)
    if pattern.method == "none":
        return ForecastRow(
            group=group,
            spent=spent,
            expected=None,
            low=None,
            high=None,
            method="none",
            days=pattern.days,
            note=f"no forecast: {_days(pattern.days)} of history, {LEAST} are needed",
        )
    band = pattern.sum([(number - first, part) for number, part in days.ahead(ends)])
    return ForecastRow(
        group=group,
        spent=spent,
        expected=spent + round(band.expected),
        low=spent + round(band.low),
        high=spent + round(band.high),
        method=pattern.method,
        days=pattern.days,
        note=""
        if pattern.method == "trend"
        else f"short history: {_days(pattern.days)}; from {ENOUGH} on there are weekdays and a trend",
    )


def _days(number: int) -> str:
    return f"{number} whole day{'' if number == 1 else 's'}"


def _series(
    books: Books,
    names: Sequence[str],
    conditions: Sequence[Condition],
    shadow_calls: ShadowCalls,
    days: Days,
) -> dict[tuple[Any, ...], Spent]:
    """What was spent on each day, by group."""
    keys = [fact_of(name).column("attempts", books).label(f"key_{place}") for place, name in enumerate(names)]
    at, cost = attempts.c.at, attempts.c.cost_nano_usd
    statement = (
        select(
            *keys, books.bucket(at, days.bounds).label("day"), func.sum(cost), func.min(at).filter(cost > 0)
        )
        .where(attempts.c.at >= days.bounds[0], attempts.c.at < days.now)
        .where(*shadows("attempts", shadow_calls), *(one.clause("attempts", books) for one in conditions))
        .group_by(*(key.name for key in keys), "day")
    )
    series: defaultdict[tuple[Any, ...], Spent] = defaultdict(lambda: Spent.nothing(days))
    for *key, day, spent, began in books.connection.execute(statement):
        series[tuple(key)].costs[day - 1] = int(spent)
        series[tuple(key)].began[day - 1] = math.inf if began is None else began
    return dict(series)


def _outlooks(books: Books, budgets: Sequence[Budget], now: float) -> Iterator[BudgetOutlook]:
    for rule in rules_of(budgets):
        window = rule.window
        if window is None or not _of_days(window):
            continue
        zone = window.zone if isinstance(window, Calendar) else "UTC"
        days = Days.of(window.bounds(now)[0], now, zone)
        names = tuple(scope.name for scope in rule.scopes)
        series = _series(books, names, (), rule.shadow_calls, days)
        for key, spent in sorted(series.items(), key=lambda one: str(one[0])):
            limit = _limit_for(rule, key)
            if limit is not None:
                pattern, first = learned(spent, days)
                group = dict(zip(names, key, strict=True))
                yield outlook_of(limit, limit.key(*key), group, spent.costs, days, pattern, first)


def _limit_for(rule: Rule, values: Sequence[str | None]) -> Limit | None:
    """The limit that holds for these values of the rule's scopes; its limits stand in that order."""
    for limit in rule.limits:
        if all(scope.only in (None, value) for scope, value in zip(limit.scopes, values, strict=True)):
            return limit
    return None


def _of_days(window: Window) -> bool:
    """Whether it is made of whole days."""
    if isinstance(window, Calendar):
        return window.unit != "hour"
    return window.seconds >= _DAY and (not isinstance(window, Fixed) or window.seconds % _DAY == 0)
