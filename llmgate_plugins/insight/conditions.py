"""Conditions on rows: `team=search,mail`, `cost>0.01`, `latency>=2s`. Data, never SQL text."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from sqlalchemy import ColumnElement, literal, not_, or_

from llmgate_plugins.insight.facts import AMOUNTS, Amount, Level, fact_of
from llmgate_plugins.types import NANO

if TYPE_CHECKING:
    from llmgate_plugins.insight.books import Books

__all__ = ["Condition", "Where", "conditions_of", "values_of"]

Operator: TypeAlias = Literal["=", "!=", ">", ">=", "<", "<="]
Where: TypeAlias = Mapping[str, Any] | Iterable[str] | str
"""Conditions that must all hold: texts as on the command line, or name -> value (several: one of
these; None: it is empty)."""

_WRITTEN: Final = re.compile(r"\s*([^=<>!]+?)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", re.DOTALL)
_VALUE: Final = re.compile(r'(?:\s*"((?:[^"]|"")*)"\s*(?=,|\Z)|([^,]*))(,|\Z)')
_AMOUNT: Final = re.compile(r"\$?(\d{1,15}(?:\.\d{1,12})?)\s*([a-z]{0,3})")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SECONDS: Final = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Condition:
    """What one fact or amount of a row must be.

    Attributes:
        name: As `facts` has it.
        operator: Facts know "=" and "!=" alone.
        values: Of which "=" wants one and "!=" none; None stands for an empty one.
    """

    name: str
    operator: Operator
    values: tuple[Any, ...]

    @property
    def of_calls(self) -> bool:
        """Whether calls can be chosen by it, and not only attempts."""
        return self.name not in AMOUNTS and fact_of(self.name).of_call is not None

    def clause(self, level: Level, books: Books) -> ColumnElement[bool]:
        """As SQL with bound parameters."""
        if self.name in AMOUNTS:
            amount = AMOUNTS[self.name].column
            return cast("ColumnElement[bool]", _COMPARE[self.operator](amount, literal(self.values[0])))
        column = fact_of(self.name).column(level, books)
        given = [value for value in self.values if value is not None]
        found = or_(column.in_(given), *([column.is_(None)] if None in self.values else []))
        if self.operator == "=":
            return found
        # What is empty is different from any value; SQL itself would not say so.
        return not_(found) if None in self.values else or_(not_(found), column.is_(None))

    def __str__(self) -> str:
        told = ["" if value is None else _quoted(str(value)) for value in self.values]
        if self.name in AMOUNTS and AMOUNTS[self.name].unit == "usd":
            told = [f"${Decimal(value).scaleb(-9).normalize():f}" for value in self.values]
        elif self.name in AMOUNTS and AMOUNTS[self.name].unit == "seconds":
            told = [f"{value:g}s" for value in self.values]
        return f"{self.name}{self.operator}{','.join(told)}"


def conditions_of(where: Where) -> tuple[Condition, ...]:
    """Read conditions.

    Raises:
        ValueError: One is no condition, or names something that rows do not have.
    """
    if isinstance(where, str):
        where = (where,)
    if isinstance(where, Mapping):
        return tuple(_from_value(name, value) for name, value in where.items())
    return tuple(_from_text(text) for text in where)


def _from_value(name: str, value: Any) -> Condition:
    if name in AMOUNTS:
        raise ValueError(f'a condition on an amount is a text: where=["{name}>1"]')
    fact = fact_of(name)
    values = value if isinstance(value, list | tuple | set | frozenset) else (value,)
    return Condition(name, "=", tuple(None if one is None else fact.value(one) for one in values))


def _from_text(text: str) -> Condition:
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition; write team=search, tag:job!=nightly or cost>0.01")
    name, sign = match[1], cast("Operator", match[2])
    if name in AMOUNTS:
        return Condition(name, sign, (_amount(AMOUNTS[name], match[3], text),))
    fact = fact_of(name)
    if sign not in ("=", "!="):
        raise ValueError(
            f"{text!r} is no condition: {name} is compared by = and != alone; amounts are "
            f"{', '.join(AMOUNTS)}"
        )
    return Condition(name, sign, tuple(fact.value(one) if one else None for one in values_of(match[3])))


def values_of(written: str) -> list[str]:
    """What stands between commas; in quotes, as in CSV, commas are a part of it."""
    values: list[str] = []
    at, more = 0, True
    while more and (found := _VALUE.match(written, at)):
        quoted, plain, comma = found.groups()
        values.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        at, more = found.end(), bool(comma)
    return values


def _quoted(value: str) -> str:
    """A value as it is written in a condition."""
    plain = "," not in value and not value.startswith('"') and value == value.strip()
    return value if plain else '"' + value.replace('"', '""') + '"'


def _amount(amount: Amount, value: str, text: str) -> float | int:
    """Nano-dollars from dollars, seconds from "2s" or "300ms", else a whole number."""
    match = _AMOUNT.fullmatch(value.lower())
    if match is not None:
        number, unit = match.groups()
        if amount.unit == "usd" and unit in ("", "usd"):
            return round(float(number) * NANO)
        if amount.unit == "seconds" and unit in _SECONDS:
            return float(number) * _SECONDS[unit]
        if amount.unit == "count" and not unit and number.isdigit():
            return int(number)
    raise ValueError(f"{text!r} is no condition: {amount.name} is compared with {amount.example}")
