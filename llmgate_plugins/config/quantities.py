"""Durations, shares and prices as people write them, turned into exact values."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

__all__ = [
    "Duration",
    "Share",
    "Threshold",
    "UsdPerMillion",
    "UsdPerToken",
    "parse_duration",
]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?\s*")
_LONGEST: Final = 366 * 86400.0


def parse_duration(value: Any) -> float:
    """Seconds of "500ms", "30s", "1h30m" or a plain number of seconds.

    Raises:
        PydanticCustomError: It is no duration, or not between 0 and 366 days.
    """
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise PydanticCustomError("duration", "not a duration; write 500ms, 30s, 2m or 1h")
    if not 0 < seconds <= _LONGEST:
        raise PydanticCustomError("duration", "a duration must be more than 0 and at most 366 days")
    return seconds


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) <= 1e18 else math.inf
    if not isinstance(value, str) or not value.strip():
        return None
    rest, total = value.strip(), 0.0
    while rest:
        part = _DURATION.match(rest)
        # Without a unit it must be the whole text: "1h30" is a guess.
        if part is None or (part[2] is None and part.end() - part.start() != len(value.strip())):
            return None
        total += float(part[1]) * _UNITS[part[2] or "s"]
        rest = rest[part.end() :]
    return total


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)?\s*)+$"},
            ],
            "examples": ["500ms", "30s", "2m", "1h"],
        }
    ),
]
"""Seconds; written "500ms", "30s", "2m", "1h", "1h30m" or as a number of seconds."""

UsdPerToken = Annotated[Decimal, Field(ge=0, le=1)]
"""US dollars per token, exact; written as a number or as text ("1.5e-07")."""

UsdPerMillion = Annotated[Decimal, Field(ge=0, le=1_000_000)]
"""US dollars per million tokens, exact."""


def _share(value: Any) -> Any:
    """0.05 as it is; "5%" as the share it is."""
    if isinstance(value, str) and (found := _PERCENT.fullmatch(value.strip())):
        return float(found[1]) / 100
    return value


_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")

Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_share, json_schema_input_type=float | str)]
"""A part of a whole, 0 to 1, also as a percentage."""

Threshold = Annotated[float, Field(gt=0, le=10), BeforeValidator(_share, json_schema_input_type=float | str)]
"""A part of a limit at which somebody should know, also as a percentage; one that watches may be passed."""
