"""What is particular to SQLite: its address, its connections, its errors."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.database import OPENING, PATIENCE, WRITING, Database, read_url
from llmgate_plugins.ledger.place import Place
from llmgate_plugins.ledger.plain import dump_json

__all__ = ["open_sqlite"]

_TO_WRITE: Final = "BEGIN IMMEDIATE"
"""Takes the lock at once: a transaction that began by reading cannot wait for it, it fails."""

_CONNECTION: Final[Mapping[str, Any]] = {
    "timeout": PATIENCE,
    "check_same_thread": False,
    "isolation_level": None,
}

_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Results that no row is to blame for."""
_NO_RIGHT: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def open_sqlite(url: str, *, durability: str | None = None, reading: bool = False) -> Database:
    """The database that an SQLite URL names. Opens nothing yet.

    Raises:
        ConfigurationError: Not such a URL, or not a file in a directory that is there.
    """
    path, from_url, outbox = _address(url)
    durability = durability or from_url or "normal"
    place = Place(path)
    return Database(
        name=str(path),
        engine=_engine(path, durability, place, reading=reading),
        place=place,
        durability=durability,
        outbox=outbox or path.with_name(f"{path.name}.outbox"),
        begin=_TO_WRITE,
        insert_once=_insert_once,
        is_away=_is_away,
        alone=_alone,
        ahead=durability == "normal",  # then neither waits for the disk
        copy=lambda mark: _copy(path, mark),
    )


def _address(url: str) -> tuple[Path, str | None, Path | None]:
    parsed, options, rest = read_url(url)
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise ConfigurationError(
            f"the ledger {url!r} names no file; write sqlite:///FILE, or memory for books that "
            "need not outlive the process"
        )
    if rest:
        raise ConfigurationError(
            f"the ledger {url!r} may say ?durability=queued, normal or full, and ?outbox=DIRECTORY, no more"
        )
    path = Path(str(parsed.database)).expanduser().absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(f"the ledger {path} cannot be made: there is no directory {path.parent}")
    if path.is_dir():
        raise ConfigurationError(f"the ledger {path} is a directory; name a file in it")
    return path, options.durability, options.outbox


def _engine(path: Path, durability: str, place: Place, *, reading: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args=_CONNECTION,
        **({"creator": partial(_to_read, path)} if reading else {}),
        pool_size=2,
        max_overflow=8,
        hide_parameters=True,
        json_serializer=dump_json,
    )
    synchronous = "FULL" if durability == "full" else "NORMAL"

    @event.listens_for(engine, "do_connect")
    def _check(*_: Any) -> None:
        place.check()

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        if not reading:
            _use_wal(cursor)
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()  # then all its files are there
        cursor.close()
        place.opened()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql(_TO_WRITE if writing else "BEGIN")

    return engine


def _to_read(path: Path) -> sqlite3.Connection:
    """A connection that leaves the file as it is, also one that is not ours, or may not be written."""
    connection: sqlite3.Connection = sqlite3.connect(path, **_CONNECTION)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        # Whoever has it open has these beside it. Where there are none and none can be made, it is at rest.
        beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")]
        if error.sqlite_errorcode & 0xFF not in _NO_RIGHT or any(file.exists() for file in beside):
            raise
        connection = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, **_CONNECTION)
    return connection


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch the file to a write-ahead log, once in its life.

    SQLite does not wait for other openers here, so this does."""
    until = time.monotonic() + OPENING
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _insert_once(table: Table) -> Insert:
    return insert(table).on_conflict_do_nothing()


def _is_away(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _AWAY


def _alone(connection: Connection) -> None:
    """Nothing to do: a transaction that may write is alone from its beginning."""


def _copy(path: Path, mark: str) -> str:
    to = path.with_name(f"{path.name}.{mark}")
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(to)) as target,
    ):
        source.backup(target)
    return str(to)
