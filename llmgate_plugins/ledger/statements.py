"""The statements that write steps, made by SQLAlchemy and run as text: one for each set of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    ClauseElement,
    DefaultClause,
    Dialect,
    Table,
    bindparam,
    false,
    literal_column,
    or_,
    update,
)

from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.schema import assignments, attempts, calls, contents, feedback

__all__ = ["KINDS", "SEVERAL", "Statement", "Statements"]

_TABLES: Final[Mapping[str, Table]] = {
    "open": attempts,
    "close": calls,
    "content": contents,
    "assign": assignments,
    "feedback": feedback,
}
KINDS: Final = ("open", "settle", "close", "content", "assign", "feedback")
"""In the order in which they are written."""

_KEYS: Final = ("key_call_id", "key_number")
_UNSETTLED: Final = or_(*(attempts.c.status == literal_column(f"'{one}'") for one in ("intent", "unknown")))
_ALWAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "open": {"status": literal_column("'intent'"), "estimated": false()},
    "settle": {"late": attempts.c.status == literal_column("'unknown'")},
}
"""What a statement sets by itself."""
SEVERAL: Final = 10
"""Rows that one statement inserts, where there are as many: a third faster than one by one."""
_MOST: Final = 500
"""Statements that are kept: a program has a few dozen kinds of rows."""


class Statement:
    """A statement as its driver takes it, so that SQLAlchemy need not look at every value.

    Attributes:
        text: SQL.
        several: SQL for so many rows (`SEVERAL`) at once, their parameters one after another;
            None where there is none.
        parameters: Named values -> what the driver takes.
    """

    __slots__ = ("parameters", "several", "text")

    def __init__(self, clause: ClauseElement, dialect: Dialect, several: ClauseElement | None = None) -> None:
        compiled = clause.compile(dialect=dialect)
        order = getattr(compiled, "positiontup", None)
        self.text = str(compiled)
        self.parameters: Callable[[Mapping[str, Any]], Any] = itemgetter(*order) if order else dict
        # Without an order the driver takes names, and those of several rows would be the same.
        self.several = str(several.compile(dialect=dialect)) if order and several is not None else None


class Statements:
    """The statements of one database, each made when it is first needed.

    Args:
        database: Where they run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, tuple[str, ...]], Statement] = {}

    def of(self, kind: str, shape: tuple[str, ...]) -> Statement:
        """The statement for steps of this kind that have these values, by name."""
        known = self._known.get((kind, shape))
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[kind, shape] = self._made(kind, shape)
        return known

    def _made(self, kind: str, shape: tuple[str, ...]) -> Statement:
        dialect = self._database.engine.dialect
        if kind == "settle":
            return Statement(_settle(shape), dialect)
        table = _TABLES[kind]
        # Told, since tables that an older version made have no defaults for some of them.
        always: dict[str, Any] = {
            column.name: column.server_default.arg
            for column in table.c
            if isinstance(column.server_default, DefaultClause)
        }
        always |= _ALWAYS.get(kind, {})
        insert = self._database.insert_once(table)
        return Statement(
            insert.values(always | {name: bindparam(name) for name in shape}),
            dialect,
            insert.values(
                [always | {name: bindparam(f"{name}_{row}") for name in shape} for row in range(SEVERAL)]
            ),
        )


def _settle(shape: tuple[str, ...]) -> ClauseElement:
    values = {**_ALWAYS["settle"], **{name: bindparam(name) for name in shape if name not in _KEYS}}
    keys = (attempts.c.call_id == bindparam("key_call_id"), attempts.c.number == bindparam("key_number"))
    return update(attempts).where(*keys, _UNSETTLED).values(values)
