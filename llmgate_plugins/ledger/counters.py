"""Counters in the books, by which processes that share them agree who tells an alert."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Double, MetaData, Table, Text, delete, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from llmgate_plugins.ledger.database import Database
from llmgate_plugins.services import Clock

__all__ = ["Counters"]

COUNTERS: Final = Table(
    "llmgate_counters",
    MetaData(),  # none of the tables that have a version: made when first needed, and may go at any time
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("until", Double, nullable=False),
)


class Counters:
    """Counters that outlive a process. For what happens now and then: each step is a transaction.

    Args:
        database: Where they are.
        writing: Begins a transaction.
        clock: Tells when a counter's time is over.
    """

    def __init__(
        self, database: Database, writing: Callable[[], AbstractContextManager[Connection]], clock: Clock
    ) -> None:
        self._database = database
        self._writing = writing
        self._clock = clock

    def add(self, key: str, amount: int = 1, *, ttl: float) -> int:
        """Add to a counter and return it; `ttl` counts from its first use.

        Raises:
            StorageError: The database takes no rows.
        """
        now = self._clock.time()
        dialect = self._database.engine.dialect.name
        insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
        row = insert(COUNTERS).values(name=key, number=amount, until=now + ttl)
        more = {"number": COUNTERS.c.number + amount}
        with self._writing() as connection:
            if not inspect(connection).has_table(COUNTERS.name):
                self._database.alone(connection)
                connection.execute(CreateTable(COUNTERS, if_not_exists=True))
            connection.execute(delete(COUNTERS).where(COUNTERS.c.until <= now))
            counted = row.on_conflict_do_update(index_elements=["name"], set_=more)
            return int(connection.execute(counted.returning(COUNTERS.c.number)).scalar_one())
