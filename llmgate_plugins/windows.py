"""Windows of time that limits count in: fixed ones, calendar ones in a named zone, rolling ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Calendar", "CalendarUnit", "Fixed", "Rolling", "Window", "window_of"]

CalendarUnit = Literal["hour", "day", "week", "month", "year"]

ROLLING_PARTS: Final = 60
"""Parts of a rolling window. One leaves it as a whole, so that it is never too generous."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Windows of equal length, one after another from the Unix epoch on.

    Attributes:
        seconds: How long each is.
    """

    seconds: float

    def __post_init__(self) -> None:
        _positive(self.seconds)

    def bounds(self, at: float) -> tuple[float, float]:
        """(start, end) of the window that holds this moment, Unix time, half-open."""
        index = math.floor(at / self.seconds)
        if (index + 1) * self.seconds <= at:  # the division was rounded down
            index += 1
        return index * self.seconds, (index + 1) * self.seconds

    def __str__(self) -> str:
        return f"{self.seconds:g}s"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hours, days, weeks (from Monday), months or years as the calendar of a place has them.

    A day that a clock change makes shorter or longer is one window all the same. An hour that one cuts,
    where clocks go by less than an hour, is two.

    Attributes:
        unit: Which of them.
        zone: An IANA name, "UTC" or "Europe/Berlin".

    Raises:
        ValueError: No such unit or zone.
    """

    unit: CalendarUnit
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.unit not in get_args(CalendarUnit):
            raise ValueError(
                f"a calendar window is one of {', '.join(get_args(CalendarUnit))}, not {self.unit!r}"
            )
        _zone(self.zone)

    def bounds(self, at: float) -> tuple[float, float]:
        """(start, end) of the window that holds this moment, Unix time, half-open."""
        return _calendar_bounds(self.unit, self.zone, at)

    def __str__(self) -> str:
        return f"{self.unit}@{self.zone}"


@dataclass(frozen=True, slots=True)
class Rolling:
    """The last so many seconds, at every moment.

    Counted in parts of a sixtieth, of which one leaves as a whole: what was spent counts for
    up to a sixtieth longer than it should, never shorter.

    Attributes:
        seconds: How long it is.
    """

    seconds: float

    def __post_init__(self) -> None:
        _positive(self.seconds)

    @property
    def part(self) -> float:
        """Seconds of one part."""
        return self.seconds / ROLLING_PARTS

    def bounds(self, at: float) -> tuple[float, float]:
        """(start, end): from the start of the oldest part that counts to the end of the newest."""
        newest = math.floor(at / self.part)
        return (newest - ROLLING_PARTS) * self.part, (newest + 1) * self.part

    def __str__(self) -> str:
        return f"last-{self.seconds:g}s"


Window: TypeAlias = Fixed | Calendar | Rolling


def window_of(window: Window | float | None) -> Window | None:
    """The window; a number stands for `Fixed` of so many seconds, None for no window at all."""
    return Fixed(float(window)) if isinstance(window, int | float) else window


def _positive(seconds: float) -> None:
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"a window must be above 0 seconds, not {seconds!r}")


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}; write an IANA name such as Europe/Berlin"
        ) from None


_latest: dict[tuple[CalendarUnit, str], tuple[float, float]] = {}
"""The window that was asked for last: it is nearly always asked for again."""


def _calendar_bounds(unit: CalendarUnit, zone: str, at: float) -> tuple[float, float]:
    known = _latest.get((unit, zone))
    if known is not None and known[0] <= at < known[1]:
        return known
    place = _zone(zone)
    local = datetime.fromtimestamp(at, UTC).astimezone(place)
    if unit == "hour":  # an hour is an hour, also where clocks change; offsets may be of minutes
        offset = _offset(place, at)
        start = math.floor((at + offset) / 3600) * 3600 - offset
        end = start + 3600.0
        if _offset(place, start) != offset:
            start = _change(place, start, at)
        if _offset(place, end - 1.0) != offset:
            end = _change(place, at, end)
        bounds = (start, end)
    else:
        begin = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if unit == "week":
            begin -= timedelta(days=begin.weekday())
        elif unit != "day":
            begin = begin.replace(day=1, month=1 if unit == "year" else begin.month)
        bounds = (_moment(begin, place), _moment(_after(begin, unit), place))
    _latest[unit, zone] = bounds
    return bounds


def _offset(place: ZoneInfo, at: float) -> float:
    """Seconds by which its clocks are ahead of UTC."""
    local = datetime.fromtimestamp(at, UTC).astimezone(place)
    return (local.utcoffset() or timedelta()).total_seconds()


def _change(place: ZoneInfo, before: float, after: float) -> float:
    """The whole second between two moments at which its clocks change."""
    low, high = math.floor(before), math.ceil(after)
    offset = _offset(place, low)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(place, middle) == offset:
            low = middle
        else:
            high = middle
    return float(high)


def _after(begin: datetime, unit: CalendarUnit) -> datetime:
    if unit == "day":
        return begin + timedelta(days=1)
    if unit == "week":
        return begin + timedelta(days=7)
    if unit == "year":
        return begin.replace(year=begin.year + 1)
    return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


def _moment(wall: datetime, place: ZoneInfo) -> float:
    """Unix time of a wall clock's reading; of a midnight that does not exist, when the clock jumps."""
    return wall.replace(tzinfo=place, fold=0).astimezone(UTC).timestamp()
