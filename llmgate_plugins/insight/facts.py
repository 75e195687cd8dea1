"""What rows can be told apart by, and compared by: the names that reports, exports and conditions know."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, func

from llmgate_plugins.insight.buckets import TIMES
from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.services import ShadowCalls
from llmgate_plugins.types import INPUT_BUCKETS, OUTPUT_BUCKETS

if TYPE_CHECKING:
    from llmgate_plugins.insight.books import Books

__all__ = ["AMOUNTS", "FACTS", "Amount", "Fact", "Level", "fact_of", "shadows"]

Level: TypeAlias = Literal["calls", "attempts"]
"""Which table a statement is about."""

Expression: TypeAlias = Callable[["Books"], ColumnElement[Any]]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is one value per row.

    Attributes:
        name: As on the command line.
        of_attempt, of_call: Where it stands in the two tables; None where it does not.
        value: Reads a value as it is compared with.
    """

    name: str
    of_attempt: Expression
    of_call: Expression | None = None
    value: Callable[[Any], Any] = str

    def column(self, level: Level, books: Books) -> ColumnElement[Any]:
        """Where it stands in that table."""
        expression = self.of_call if level == "calls" else self.of_attempt
        if expression is None:
            raise ValueError(f"{self.name} belongs to an attempt, and cannot tell calls apart")
        return expression(books)


def _yes_or_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in known:
        raise ValueError(f"{value!r} must be true or false")
    return known[str(value).lower()]


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} must be a whole number") from None


def _both(name: str, column: str, value: Callable[[Any], Any] = str) -> Fact:
    return Fact(name, lambda _: attempts.c[column], lambda _: calls.c[column], value)


def _attempt(name: str, value: Callable[[Any], Any] = str) -> Fact:
    return Fact(name, lambda _: attempts.c[name], None, value)


_CONTEXT: Final = {
    ("required_region" if name == "region" else name): column for name, column in CONTEXT_COLUMNS.items()
}
"""`region` is where the deployment runs; what the context asks for is `required_region`."""

FACTS: Final[Mapping[str, Fact]] = {
    fact.name: fact
    for fact in (
        _attempt("model"),
        Fact("served_model", lambda _: func.coalesce(attempts.c.served_model, attempts.c.model)),
        *(_attempt(name) for name in ("provider", "deployment", "region", "alias")),
        Fact(
            "route",
            lambda _: func.coalesce(attempts.c.requested_model, attempts.c.alias),
            lambda _: calls.c.model,
        ),
        *(_attempt(name) for name in ("reason", "status", "error_class", "scope", "code")),
        _attempt("http_status", _whole),
        *(_attempt(name) for name in ("finish_reason", "service_tier", "credential", "price_source")),
        *(_both(name, column) for name, column in _CONTEXT.items()),
        _both("policy_version", "policy_version"),
        _both("priority", "priority", _whole),
        _both("operation", "operation"),
        _both("stream", "stream", _yes_or_no),
        _both("call_id", "call_id"),
        _both("trace_id", "trace_id"),
        _both("shadow_of", "shadow_of"),
    )
}
"""Name -> fact, besides `tag:NAME` and `extra:NAME`."""


def fact_of(name: str) -> Fact:
    """The fact of that name: a column's, "tag:NAME" (the caller's) or "extra:NAME" (the context's).

    Raises:
        ValueError: There is none.
    """
    kind, colon, label = name.partition(":")
    if colon and label and kind in ("tag", "extra"):
        column = "tags" if kind == "tag" else "extra"
        return Fact(
            name,
            lambda books: books.label(attempts.c[column], label),
            lambda books: books.label(calls.c[column], label),
        )
    fact = FACTS.get(name)
    if fact is None:
        near = difflib.get_close_matches(name, [*FACTS, *TIMES], n=3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"there are: {', '.join(FACTS)}, tag:NAME, extra:NAME"
        )
        raise ValueError(f"there is no {name!r}; {hint}")
    return fact


def shadows(level: Level, shadow_calls: ShadowCalls) -> list[ColumnElement[bool]]:
    """What rows must be, so that calls that are shadows of others count as wanted."""
    if shadow_calls == "with":
        return []
    is_shadow = (calls if level == "calls" else attempts).c.shadow_of.is_not(None)
    return [is_shadow if shadow_calls == "only" else ~is_shadow]


@dataclass(frozen=True, slots=True)
class Amount:
    """Something of an attempt that is more or less.

    Attributes:
        unit: "usd" (nano-dollars in the row), "seconds" or "count".
        column: Where it stands.
        example: What it may be compared with.
    """

    name: str
    unit: Literal["usd", "seconds", "count"]
    column: ColumnElement[Any]

    @property
    def example(self) -> str:
        """What it may be compared with, in words."""
        return {"usd": "dollars (0.01)", "seconds": "a time (2s, 300ms)", "count": "a whole number"}[
            self.unit
        ]


def _sum(names: tuple[str, ...]) -> ColumnElement[Any]:
    return reduce(add, (attempts.c[name] for name in names))


AMOUNTS: Final[Mapping[str, Amount]] = {
    amount.name: amount
    for amount in (
        Amount("cost", "usd", attempts.c.cost_nano_usd),
        Amount("latency", "seconds", attempts.c.latency_s),
        Amount("first_token", "seconds", attempts.c.first_token_s),
        Amount("tokens", "count", _sum(TOKEN_COLUMNS)),
        Amount("tokens_in", "count", _sum(tuple(f"{bucket}_tokens" for bucket in INPUT_BUCKETS))),
        Amount("tokens_out", "count", _sum(tuple(f"{bucket}_tokens" for bucket in OUTPUT_BUCKETS))),
        Amount("attempt", "count", attempts.c.number),
    )
}
"""Name -> amount that conditions may compare."""
