"""How much in which time, as people write it: "50 USD/day", "60/minute", "100k/day"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from llmgate_plugins.types import NANO
from llmgate_plugins.windows import Calendar, Fixed, Rolling, Window

__all__ = [
    "Count",
    "CountLimit",
    "Per",
    "Spending",
    "SpendingLimit",
    "litellm_window",
    "parse_count",
    "parse_limit",
    "window_for",
]

Per = Literal["second", "minute", "hour", "day", "week", "month", "year"]

_SHORT: Final = {"second": 1.0, "minute": 60.0}
_CALENDAR: Final = ("hour", "day", "week", "month", "year")
_PER: Final = r"\s*(?:(?:/|per\s)\s*(?P<window>[A-Za-z]{1,10}))?\s*"
_MONEY: Final = re.compile(
    r"(?:\$\s*)?(?P<amount>\d{1,12}(?:[._]\d{1,12})?)\s*(?P<currency>[A-Za-z]{3}(?![A-Za-z]))?" + _PER
)
_COUNT: Final = re.compile(r"(?P<number>\d{1,15}(?:_\d{1,3}){0,5}(?:\.\d{1,6})?)\s*(?P<unit>[kKMB])?" + _PER)
_LITELLM: Final = re.compile(r"(\d{1,6})(mo|[smhdw])")
_LITELLM_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_UNITS: Final = {"k": 1_000, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingLimit:
    """So much money, per window.

    Attributes:
        nano_usd: Integer nano-dollars.
        per: The window's name; None where a rolling one is told beside it.
    """

    nano_usd: int
    per: Per | None = None

    def __str__(self) -> str:
        money = f"{(Decimal(self.nano_usd) / NANO).normalize():f} USD"
        return money if self.per is None else f"{money}/{self.per}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLimit:
    """So many requests or tokens, per window.

    Attributes:
        number: How many.
        per: As of `SpendingLimit`.
    """

    number: int
    per: Per | None = None

    def __str__(self) -> str:
        return str(self.number) if self.per is None else f"{self.number}/{self.per}"


def window_for(per: Per | None, rolling: float | None, zone: str) -> Window:
    """The window that is meant: of the calendar of a zone, or a rolling one.

    Raises:
        ValueError: Neither is told.
    """
    if per is None:
        if rolling is None:
            raise ValueError("an amount needs a window")
        return Rolling(rolling)
    return Fixed(_SHORT[per]) if per in _SHORT else Calendar(per, zone)  # type: ignore[arg-type]


def litellm_window(duration: str) -> Window:
    """The window of LiteLLM's "1d", "12h" or "1mo": months by the calendar, else of equal length.

    Raises:
        ValueError: It is no such duration.
    """
    match = _LITELLM.fullmatch(duration.strip())
    if match is None:
        raise ValueError("not a duration of a budget; write 12h, 1d or 1mo")
    number, unit = int(match[1]), match[2]
    if unit == "mo":
        if number != 1:
            raise ValueError("only single months are understood; write 1mo")
        return Calendar("month")
    return Fixed(number * _LITELLM_UNITS[unit])


def parse_limit(value: Any) -> SpendingLimit:
    """The limit in "50 USD/day".

    Raises:
        PydanticCustomError: It is no such limit.
    """
    if isinstance(value, SpendingLimit):
        return value
    match = _MONEY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("spending_limit", "not a spending limit; write 50 USD/day")
    if (match["currency"] or "USD").upper() != "USD":
        raise PydanticCustomError("spending_limit", "only USD is understood; write 50 USD/day")
    per = _window(match["window"], _CALENDAR, "a spending limit is per hour, day, week, month or year")
    nano = int(Decimal(match["amount"].replace("_", "")) * NANO)
    if nano <= 0:
        raise PydanticCustomError("spending_limit", "a spending limit must be more than 0")
    return SpendingLimit(nano_usd=nano, per=per)


def parse_count(value: Any) -> CountLimit:
    """The limit in "60/minute" or "100k/day".

    Raises:
        PydanticCustomError: It is no such limit.
    """
    if isinstance(value, CountLimit):
        return value
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _COUNT.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise PydanticCustomError("count_limit", "not a number per time; write 60/minute or 100k/day")
    per = _window(match["window"], get_args(Per), "a limit is per second, minute, hour, day, week ...")
    number = Decimal(match["number"].replace("_", "")) * _UNITS.get(match["unit"] or "", 1)
    if number <= 0 or number != int(number) or number >= 2**62:
        raise PydanticCustomError("count_limit", "a limit must be a whole number above 0")
    return CountLimit(number=int(number), per=per)


def _window(written: str | None, known: tuple[str, ...], otherwise: str) -> Per | None:
    window = None if written is None else written.lower()
    if window is not None and window not in known:
        raise PydanticCustomError("window", "{why}; write it as /day", {"why": otherwise})
    return window  # type: ignore[return-value]


_PATTERN: Final = r"\s*((/|per )\s*({}))?\s*$"

Spending = Annotated[
    SpendingLimit,
    PlainValidator(parse_limit),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*\$?\s*[0-9][0-9._]*\s*([Uu][Ss][Dd])?" + _PATTERN.format("|".join(_CALENDAR)),
            "examples": ["50 USD/day"],
        }
    ),
]
"""A `SpendingLimit`; written "50 USD/day", or "50 USD" where a rolling window is told beside it."""

Count = Annotated[
    CountLimit,
    PlainValidator(parse_count),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {
                    "type": "string",
                    "pattern": r"^\s*[0-9][0-9._]*\s*[kKMB]?" + _PATTERN.format("|".join(get_args(Per))),
                },
            ],
            "examples": ["60/minute", "100k/day"],
        }
    ),
]
"""A `CountLimit`; written "60/minute", "100k/day", or a number where a rolling window is told beside it."""
