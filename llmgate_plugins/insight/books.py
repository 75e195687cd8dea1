"""Reading the books: one connection, and what each database does in its own way."""

from __future__ import annotations

import itertools
import json
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Double,
    Integer,
    StaticPool,
    Text,
    create_engine,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.functions import Function

from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.insight.buckets import counted
from llmgate_plugins.insight.ranks import SHARES, Values, quantiles_of
from llmgate_plugins.ledger.labels import label
from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.plain import dump_json
from llmgate_plugins.ledger.schema import assignments, attempts, calls, feedback, metadata
from llmgate_plugins.ledger.sql import SqlLedger
from llmgate_plugins.ledger.upgrading import prepare, refuse_missing
from llmgate_plugins.services import Ledger

__all__ = ["Books", "open_books"]

MAPPED: Final = 1 << 40
"""Bytes of a file that are read by way of memory, in a third of the time; SQLite itself goes up to two
gigabytes."""
TRIES: Final = 50
"""Times that two connections try to begin at the same moment, while others write."""
_AT_ONCE: Final = 1_000
"""Rows of a ledger in memory that are copied in one statement."""


class Books(ABC):
    """A connection to read the tables from, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @contextmanager
    def beside(self) -> Iterator[Books | None]:
        """A second connection that sees the very same, to read with in another thread; None without one.

        Ask for it before anything is read."""
        yield None

    def label(self, column: ColumnElement[Any], name: str) -> ColumnElement[str | None]:
        """One value of a JSON column of labels; NULL if there is none of that name."""
        return label(column, name, self.connection.dialect.name)

    @abstractmethod
    def bucket(self, at: ColumnElement[float], bounds: Sequence[float]) -> ColumnElement[int]:
        """How many of these moments, in rising order, are not after it."""

    @abstractmethod
    def quantiles(self, column: ColumnElement[Any], condition: ColumnElement[bool]) -> Aggregate:
        """An aggregate: the `SHARES` of what is not NULL where the condition holds, by nearest rank."""

    @abstractmethod
    def of_all(
        self, quantiles: Sequence[Aggregate], chosen: Sequence[ColumnElement[bool]]
    ) -> list[tuple[float, ...] | None]:
        """The same over all groups together, once a statement has read these; `chosen` as it was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Quantiles as a statement asks for them, and how to read what it gives.

    Attributes:
        column: The aggregate.
        read: The quantiles in what it gave for a group; None where that had no value.
        groups: On SQLite the values of each group, sorted.
    """

    column: ColumnElement[Any]
    read: Callable[[Any], tuple[float, ...] | None]
    groups: list[array[float]] = field(default_factory=list)


class SqliteBooks(Books):
    """SQLite has no quantiles: it gathers a group's values, which are then sorted in Python.

    Measured over a million rows in ten groups, that takes a third of the time that window
    functions do. The aggregate's step is `array.append` itself, so that no Python code runs
    once for each row; nor does it for time, with `bisect_right`. SQLite's cache is as small as it
    comes: with a larger one it puts groups in order in pieces that no processor's cache holds.

    Args:
        mapped: Read the file by way of memory. Whoever truncates it meanwhile then kills this
            process, so a gateway's own connections do not.
    """

    def __init__(self, connection: Connection, *, mapped: bool) -> None:
        super().__init__(connection)
        if mapped:
            connection.exec_driver_sql(f"PRAGMA mmap_size = {MAPPED}")
        self._mapped = mapped
        self._driver = _driver_of(connection)
        self._functions = itertools.count(1)

    @contextmanager
    def beside(self) -> Iterator[Books | None]:
        """SQLite uses one processor for each connection, and Python's lock only to gather values."""
        if isinstance(self.connection.engine.pool, StaticPool):  # a database in memory: one is all there is
            yield None
            return
        with self.connection.engine.connect() as other:
            beside = SqliteBooks(other, mapped=self._mapped)
            yield beside if self._sees_the_same_as(beside) else None

    def _sees_the_same_as(self, beside: SqliteBooks) -> bool:
        """Begin to read with both; whether nothing was written in between, sooner or later."""
        both = (beside.connection, self.connection)
        for _ in range(TRIES):
            for connection in both:
                connection.rollback()
            before = self._version()
            for connection in both:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
            if self._version() == before:
                return True
        return False

    def _version(self) -> int:
        """Changes with every commit of others that this connection sees."""
        (version,) = self._driver.execute("PRAGMA data_version").fetchone()
        return int(version)

    def bucket(self, at: ColumnElement[float], bounds: Sequence[float]) -> ColumnElement[int]:
        """By arithmetic where that is short, otherwise by a function that is made for these bounds."""
        if (number := counted(at, bounds)) is not None:
            return number
        name = f"llmgate_bucket_{next(self._functions)}"
        self._driver.create_function(name, 1, partial(bisect_right, bounds), deterministic=True)
        return Function(name, at, type_=Integer)

    def quantiles(self, column: ColumnElement[Any], condition: ColumnElement[bool]) -> Aggregate:
        """By an aggregate of its own, which keeps what it has sorted."""
        name = f"llmgate_quantiles_{next(self._functions)}"
        groups: list[array[float]] = []

        class Gathered(Values):
            def finalize(self) -> str | None:
                if not self:
                    return None
                groups.append(array("d", sorted(self)))
                return json.dumps(quantiles_of(groups[-1:]))

        self._driver.create_aggregate(name, 1, Gathered)
        aggregate = Function(name, column, type_=Text).filter(condition, column.is_not(None))
        return Aggregate(column=aggregate, read=_of_json, groups=groups)

    def of_all(
        self,
        quantiles: Sequence[Aggregate],
        chosen: Sequence[ColumnElement[bool]],  # noqa: ARG002 - for those that ask again
    ) -> list[tuple[float, ...] | None]:
        """From what was sorted already; nothing is read again."""
        return [quantiles_of(one.groups) if one.groups else None for one in quantiles]


def _driver_of(connection: Connection) -> Any:
    """The driver's own connection, which functions are made on."""
    return connection.connection.driver_connection


def _of_json(value: str | None) -> tuple[float, ...] | None:
    return None if value is None else tuple(json.loads(value))


class PostgresBooks(Books):
    """PostgreSQL can do all of it."""

    def bucket(self, at: ColumnElement[float], bounds: Sequence[float]) -> ColumnElement[int]:
        """`width_bucket` with thresholds of our own."""
        return func.width_bucket(at, literal(list(bounds), ARRAY(Double)), type_=Integer)

    def quantiles(self, column: ColumnElement[Any], condition: ColumnElement[bool]) -> Aggregate:
        """`percentile_disc`"""
        shares = literal(list(SHARES), ARRAY(Double))
        aggregate = func.percentile_disc(shares, type_=ARRAY(Double)).within_group(column).filter(condition)
        return Aggregate(column=aggregate, read=_of_list)

    def of_all(
        self, quantiles: Sequence[Aggregate], chosen: Sequence[ColumnElement[bool]]
    ) -> list[tuple[float, ...] | None]:
        """By a statement without groups."""
        row = self.connection.execute(select(*(one.column for one in quantiles)).where(*chosen)).one()
        return [one.read(value) for one, value in zip(quantiles, row, strict=True)]


def _of_list(value: list[float | None] | None) -> tuple[float, ...] | None:
    return tuple(one for one in value if one is not None) or None if value is not None else None


@contextmanager
def open_books(ledger: Ledger | str, *, decisions: bool = False) -> Iterator[Books]:
    """Read the books of a ledger, as they stand now.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        decisions: Whether what was decided will be asked for, which is most of a row: of books in
            memory it is copied then as well.

    Raises:
        ConfigurationError: No such ledger, or a package that is not installed.
        StorageError: It could not be read, or another version of llmgate wrote it.
    """
    if isinstance(ledger, str):
        reading = _database(ledger)
    elif isinstance(ledger, SqlLedger):
        reading = ledger.reading()
    else:
        reading = _copied(ledger, decisions)
    with reading as connection:
        if connection.dialect.name == "sqlite":
            yield SqliteBooks(connection, mapped=isinstance(ledger, str))
        else:
            yield PostgresBooks(connection)


@contextmanager
def _database(url: str) -> Iterator[Connection]:
    """A database that is read only: nothing is made where there is none."""
    kind = url.partition(":")[0].strip().lower()
    if not kind.startswith(("sqlite", "postgres")):
        # Only the scheme is shown: what follows it may hold a password.
        raise ConfigurationError(
            f"a ledger {kind!r} cannot be read by others; there are: sqlite:///FILE, postgresql://..."
        )
    database = open_database(url.strip(), reading=True)
    try:
        refuse_missing(database)
        prepare(database)  # makes nothing, since it is there; refuses what another version wrote
        with database.connect() as connection:
            yield connection
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise StorageError(f"the ledger {database.name} could not be read: {said}") from error
    finally:
        database.engine.dispose()


@contextmanager
def _copied(ledger: Ledger, decisions: bool) -> Iterator[Connection]:
    """The rows of a ledger that is in no database, in one of their own."""
    engine = create_engine("sqlite://", poolclass=StaticPool, json_serializer=dump_json)
    without: dict[str, Any] = {} if decisions else {"decision": {}, "problems": []}
    try:
        with engine.connect() as connection:
            metadata.create_all(connection)
            ledger.flush()
            for table, rows in (
                (attempts, ledger.attempts()),
                (calls, ledger.calls()),
                (assignments, ledger.assignments()),
                (feedback, ledger.feedback()),
            ):
                names = table.c.keys()
                for start in range(0, len(rows), _AT_ONCE):
                    chunk = [row | without for row in rows[start : start + _AT_ONCE]]
                    connection.execute(insert(table), [{name: row[name] for name in names} for row in chunk])
            yield connection
    finally:
        engine.dispose()
