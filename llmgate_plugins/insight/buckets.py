"""Hours, days, weeks and months of a zone, as rows of a report: where they begin and what they are called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from llmgate_plugins.insight.facts import TimeUnit
from llmgate_plugins.windows import Calendar

__all__ = ["bounds_of", "name_of"]

_MOST: Final = 100_000


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


def name_of(unit: str, at: float, zone: str) -> str:
    """ "2026-11-01"; of an hour "2026-11-01T09:00+01:00"."""
    local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone))
    return local.isoformat(timespec="minutes") if unit == "hour" else local.date().isoformat()
