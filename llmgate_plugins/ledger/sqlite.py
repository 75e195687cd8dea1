"""What is particular to SQLite: its address, its connections, its way to insert once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql.dml import Insert

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.rows import dump_json

__all__ = ["WRITING", "address_of", "connect", "insert_once"]

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another writer. With several processes, commits of 2 s were seen."""

WRITING = "llmgate_writing"
"""Execution option of a connection that will write."""


def address_of(url: str) -> tuple[Path, str]:
    """(file, durability) of an SQLite URL.

    Raises:
        ConfigurationError: Not such a URL, or not a file in a directory that is there.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"the ledger {url!r} is not a URL; write sqlite:///FILE") from None
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise ConfigurationError(
            f"the ledger {url!r} names no file; write sqlite:///FILE, or memory for books that "
            "need not outlive the process"
        )
    query = dict(parsed.query)
    durability = query.pop("durability", "normal")
    if query or durability not in ("normal", "full"):
        raise ConfigurationError(
            f"the ledger {url!r} may say ?durability=normal or ?durability=full, no more"
        )
    path = Path(str(parsed.database)).expanduser().absolute()
    if not path.parent.is_dir():
        raise ConfigurationError(f"the ledger {path} cannot be made: there is no directory {path.parent}")
    if path.is_dir():
        raise ConfigurationError(f"the ledger {path} is a directory; name a file in it")
    return path, str(durability)


def connect(path: Path, durability: str) -> Engine:
    """An engine whose connections are set up for a ledger. Opens nothing yet."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False, "isolation_level": None},
        pool_size=2,
        hide_parameters=True,
        json_serializer=dump_json,
    )
    synchronous = "FULL" if durability == "full" else "NORMAL"

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        _use_wal(cursor)
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write takes the lock at once: one that began by reading
        # cannot wait for it, it fails.
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch the file to a write-ahead log, once in its life.

    SQLite does not wait for other openers here, so this does."""
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def insert_once(table: Table) -> Insert:
    """Insert a row; nothing happens if its key is there."""
    return insert(table).on_conflict_do_nothing()
