"""Calls as the books have them, in order of time, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import func, select

from llmgate_plugins.insight.books import Books
from llmgate_plugins.insight.conditions import Condition
from llmgate_plugins.insight.spans import Span, during
from llmgate_plugins.ledger.schema import calls
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Message, Request

__all__ = ["BATCH", "RecordedCall", "count_calls", "read_calls", "request_of"]

BATCH: Final = 500
"""Calls that are read at once."""

_COLUMNS: Final = ("call_id", "model", "at", "status", "shape", "decision")
_PARAMS: Final = (
    *(
        "max_completion_tokens",
        "max_tokens",
        "n",
        "best_of",
        "service_tier",
        "reasoning_effort",
        "modalities",
    ),
)
_ATTACHMENT: Final = 4_000
_TOOL: Final = 400
"""Characters that one counts for in a shape; see `shape_of`."""


@dataclass(slots=True)
class RecordedCall:
    """A call that was made, and what it looked like.

    Attributes:
        counts: Whether it is within the span that was asked for, or only leads up to it.
    """

    record: DecisionRecord
    counts: bool

    @property
    def was_left(self) -> bool:
        """Whether its caller went away before it had an answer."""
        return self.record.status in ("cancelled", "abandoned")


def read_calls(
    books: Books, span: Span, since: float | None, where: tuple[Condition, ...]
) -> Iterator[list[RecordedCall]]:
    """Batches in order of time, shadows of calls among them.

    Args:
        span: What is asked for.
        since: From when on to read: before the span, for what leads up to it.
    """
    table = calls.c
    clauses = [*during(Span(since, span.until), table.at), *(one.clause("calls", books) for one in where)]
    statement = select(*(table[name] for name in _COLUMNS)).where(*clauses).order_by(table.at, table.call_id)
    result = books.connection.execute(statement.execution_options(yield_per=BATCH))
    for rows in result.mappings().partitions():
        yield [
            RecordedCall(DecisionRecord.from_row(dict(row)), span.since is None or row["at"] >= span.since)
            for row in rows
            if row["decision"]  # recovery closes a call of which nobody knows how it went
        ]


def count_calls(
    books: Books, span: Span, since: float | None, where: tuple[Condition, ...]
) -> tuple[int, float | None]:
    """How many there are to replay, and when the first was made."""
    table = calls.c
    clauses = [*during(Span(since, span.until), table.at), *(one.clause("calls", books) for one in where)]
    clauses.append(table.shadow_of.is_(None))
    number, first = books.connection.execute(select(func.count(), func.min(table.at)).where(*clauses)).one()
    return int(number), first


def request_of(record: DecisionRecord) -> Request:
    """A request of the recorded shape: as long and of the same kinds, in other words."""
    shape = record.shape
    params: dict[str, Any] = {name: shape[name] for name in _PARAMS if name in shape}
    characters = int(shape.get("characters", 4 * int(shape.get("input_tokens", 0))))
    if tools := int(shape.get("tools", 0)):
        params["tools"] = _tools(tools)
        characters -= tools * _TOOL
    if wanted := shape.get("response_format"):
        params["response_format"] = {"type": wanted}
    fallbacks = shape.get("fallbacks")
    request = Request(
        model=record.model,
        params=params,
        tags=record.tags,
        stream=record.stream,
        operation=record.operation,
        fallbacks=None if fallbacks is None else tuple(fallbacks),
        timeout=shape.get("timeout"),
        on_break=shape.get("on_break"),
    )
    if record.operation == "embedding" or not shape.get("messages"):
        params["input" if record.operation == "embedding" else "prompt"] = _words(max(characters, 0))
        return request
    return request.replace(messages=_messages(shape, characters))


def _messages(shape: Mapping[str, Any], characters: int) -> tuple[Message, ...]:
    parts = shape.get("parts") or ()
    text = _words(max(characters - len(parts) * _ATTACHMENT, 0))
    first = Message(role="user", content=text)
    if parts:
        content = ({"type": "text", "text": text}, *({"type": kind, kind: {}} for kind in parts))
        first = Message(role="user", content=content)
    return (*(_EMPTY for _ in range(int(shape["messages"]) - 1)), first)


_EMPTY: Final = Message(role="user", content="")


@lru_cache(maxsize=256)
def _words(characters: int) -> str:
    """Text of so many characters, in words."""
    return ("word " * (characters // 5 + 1))[:characters]


@lru_cache(maxsize=64)
def _tools(number: int) -> tuple[Mapping[str, Any], ...]:
    """Definitions of so many tools, of the usual length."""
    function = {"name": "tool", "description": "x" * (_TOOL - 100), "parameters": {"type": "object"}}
    return ({"type": "function", "function": function},) * number
