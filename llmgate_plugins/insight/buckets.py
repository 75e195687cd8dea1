"""Hours, days, weeks and months of a zone, as rows of a report: where they begin and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Integer, case, cast, literal

from llmgate_plugins.windows import Calendar

__all__ = ["TIMES", "TimeUnit", "bounds_of", "counted", "name_of"]

TimeUnit: TypeAlias = Literal["hour", "day", "week", "month"]
TIMES: Final[tuple[TimeUnit, ...]] = get_args(TimeUnit)

_MOST: Final = 100_000
_MANY_STRIDES: Final = 16
"""From so many on, a function in Python is faster than SQLite is at comparing."""


def bounds_of(unit: TimeUnit, zone: str, first: float, last: float) -> list[float]:
    """When each begins, from the one that holds `first` to the one that holds `last`, Unix time.

    Raises:
        ValueError: They are more than a report should have.
    """
    calendar = Calendar(unit, zone)
    bounds = [calendar.bounds(first)[0]]
    while (end := calendar.bounds(bounds[-1])[1]) <= last:
        bounds.append(end)
        if len(bounds) > _MOST:
            raise ValueError(f"a report by {unit} over so long a time has more than {_MOST:,} rows")
    return bounds


def counted(at: ColumnElement[float], bounds: Sequence[float]) -> ColumnElement[int] | None:
    """How many of these moments, in rising order, are not after it: by arithmetic, as hours are
    equally long, and days but for two in a year. None where there are too many different steps.

    Differences of Unix times of this century are exact, and quotients for ninety years of days."""
    steps = groupby(pairwise(bounds), key=lambda step: step[1] - step[0])
    strides = [(length, list(some)) for length, some in steps]
    if not bounds or len(strides) > _MANY_STRIDES:
        return None
    number = 1
    cases: list[tuple[ColumnElement[bool], ColumnElement[int]]] = [(at < bounds[0], literal(0))]
    for length, some in strides:
        begin, end = some[0][0], some[-1][1]
        cases.append((at < end, cast((at - begin) / length, Integer) + number))
        number += len(some)
    return case(*cases, else_=number)


def name_of(unit: str, at: float, zone: str) -> str:
    """ "2026-11-01"; of an hour "2026-11-01T09:00+01:00"."""
    local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone))
    return local.isoformat(timespec="minutes") if unit == "hour" else local.date().isoformat()
