"""Spans of time as people write them: "7d", "2026-11-01", "today", in a named zone."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias
from zoneinfo import ZoneInfo

from llmgate_plugins.windows import Calendar

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

__all__ = ["Moment", "Span", "during", "span_of"]

Moment: TypeAlias = str | float | datetime | date | timedelta
"""Text ("7d", "today", "2026-11-01", "2026-11-01T09:30"), Unix time, or as `datetime` has it.
A duration means so long before now."""

_AGO: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` (with it) to `until` (without it), Unix time; None for no bound."""

    since: float | None = None
    until: float | None = None

    def told(self, zone: str = "UTC") -> str:
        """For people: "2026-11-01 00:00 to now (Europe/Berlin)"."""
        return (
            f"{_shown(self.since, zone) or 'the beginning'} to {_shown(self.until, zone) or 'now'} ({zone})"
        )


def during(span: Span, at: ColumnElement[float]) -> list[ColumnElement[bool]]:
    """What rows of this span fulfil, by the column of their time."""
    bounds = []
    if span.since is not None:
        bounds.append(at >= span.since)
    if span.until is not None:
        bounds.append(at < span.until)
    return bounds


def span_of(since: Moment | None, until: Moment | None, *, now: float, zone: str = "UTC") -> Span:
    """The span between two moments as somebody wrote them.

    Args:
        now: Unix time that durations are counted back from.
        zone: IANA name; where a day begins, and what a time without an offset means.

    Raises:
        ValueError: One is no moment, or they are in the wrong order.
    """
    span = Span(_unix(since, now, zone), _unix(until, now, zone))
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise ValueError(f"nothing lies between {since!r} and {until!r}: the first must be earlier")
    return span


def _unix(moment: Moment | None, now: float, zone: str) -> float | None:
    today = Calendar("day", zone).bounds(now)[0]  # also says if there is no such zone
    if moment is None:
        return None
    if isinstance(moment, timedelta):
        return now - moment.total_seconds()
    if isinstance(moment, datetime):
        return _in_zone(moment, zone)
    if isinstance(moment, date):
        return _in_zone(datetime.combine(moment, time()), zone)
    if isinstance(moment, int | float):
        if not math.isfinite(moment):
            raise ValueError(f"{moment!r} is no moment")
        return float(moment)
    text = moment.strip().lower()
    ago = _AGO.fullmatch(text)
    if ago:
        return now - float(ago[1]) * _SECONDS[ago[2]]
    if text in ("now", "today"):
        return now if text == "now" else today
    if text == "yesterday":
        return Calendar("day", zone).bounds(today - 1)[0]
    if text in ("week", "month", "year"):
        return Calendar(text, zone).bounds(now)[0]  # type: ignore[arg-type]  # one of these words
    try:
        return _in_zone(datetime.fromisoformat(moment.strip()), zone)
    except ValueError:
        raise ValueError(
            f"{moment!r} is no moment; write 7d, 24h, today, yesterday, week, month, 2026-11-01 or "
            "2026-11-01T09:30"
        ) from None


def _in_zone(moment: datetime, zone: str) -> float:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(UTC).timestamp()


def _shown(at: float | None, zone: str) -> str:
    return "" if at is None else datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")
