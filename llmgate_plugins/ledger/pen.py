"""The connection that writes: the driver's own, since SQLAlchemy's way takes four times as long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

from sqlalchemy import PoolProxiedConnection

from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.statements import SEVERAL, Statement

__all__ = ["Pen"]

HELD: Final = 60.0
"""Seconds after which the connection goes back to its pool, which may renew it."""


class Pen:
    """A connection of one database, taken when first needed and held. For one thread at a time.

    Args:
        database: Where it writes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: PoolProxiedConnection | None = None
        self._cursor: Any = None
        self._until = 0.0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what runs within, or roll it back.

        Raises whatever the driver says, or SQLAlchemy in its place where there is no connection."""
        try:
            self.begin()
            yield
            self.commit()
        except BaseException as error:
            self._cancel(error)
            raise

    def begin(self) -> None:
        """Begin a transaction that writes."""
        if self._connection is not None and time.monotonic() > self._until:
            self.put_down()
        if self._connection is None:
            self._connection = self._database.engine.raw_connection()
            self._cursor = self._connection.cursor()
            self._until = time.monotonic() + HELD
        self._cursor.execute(self._database.begin)

    def run(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run a statement for each of these rows; how many that changed, of the last run if several."""
        parameters = statement.parameters
        cursor, count = self._cursor, len(rows)
        if count == 1:
            cursor.execute(statement.text, parameters(rows[0]))
            return int(cursor.rowcount)
        whole = 0
        if statement.several is not None and count >= SEVERAL:
            whole = count - count % SEVERAL
            cursor.executemany(
                statement.several,
                [
                    tuple(chain.from_iterable(map(parameters, rows[start : start + SEVERAL])))
                    for start in range(0, whole, SEVERAL)
                ],
            )
        if whole < count:
            cursor.executemany(statement.text, [parameters(row) for row in rows[whole:]])
        return int(cursor.rowcount)

    def commit(self) -> None:
        """Make it last."""
        if self._connection is not None:
            self._connection.commit()

    def put_down(self) -> None:
        """Let go of the connection; it comes back when needed."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _cancel(self, error: BaseException) -> None:
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(Exception):  # a connection that is gone has nothing to roll back
            connection.rollback()
            if not self._database.is_away(error):
                return
        self._connection = self._cursor = None
        connection.invalidate()
