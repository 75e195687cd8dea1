"""The tables of a database: made when it is new, checked when it is not, brought up to date on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.exc import DBAPIError, OperationalError

from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger.database import OPENING, Database
from llmgate_plugins.ledger.schema import (
    REVISION,
    SCHEMA_VERSION,
    attempts,
    calls,
    metadata,
    revision,
    schema,
)

__all__ = ["Upgrade", "prepare", "refuse_missing", "upgrade", "version_of"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        before, after: Versions of the tables; `before` is None where there were none.
        copy: The copy that was made first; None if none was.
    """

    before: int | None
    after: int
    copy: str | None = None


def prepare(database: Database) -> None:
    """Make the tables of a new database; check those of another.

    Raises:
        ConfigurationError: It cannot be reached or written.
        StorageError: It has tables of another version, or is no ledger.
    """
    until = time.monotonic() + OPENING
    try:
        while True:
            try:
                found = _prepared(database)
                break
            except OperationalError as error:
                if "locked" not in _said(error) or time.monotonic() > until:
                    raise
    except OperationalError as error:
        raise ConfigurationError(f"the ledger {database.name} cannot be written: {_said(error)}") from error
    except DBAPIError as error:
        raise StorageError(f"{database.name} cannot be a ledger: {_said(error)}") from error
    if found != SCHEMA_VERSION:
        _refuse(found, database)


def _prepared(database: Database) -> int:
    with database.connect() as connection:
        found = _version(connection, database)
    if found is None:
        with database.connect(writing=True) as connection, connection.begin():
            database.alone(connection)
            found = _version(connection, database)  # another process may have been faster
            if found is None:
                found = _make(connection)
    return found


def version_of(database: Database) -> int | None:
    """The version of its tables; None if it has none. A file that is not there is not made.

    Raises:
        ConfigurationError: It cannot be reached.
        StorageError: It is no ledger.
    """
    if database.engine.dialect.name == "sqlite" and not Path(database.name).exists():
        return None
    try:
        with database.connect() as connection:
            return _version(connection, database)
    except OperationalError as error:
        raise ConfigurationError(f"the ledger {database.name} cannot be read: {_said(error)}") from error
    except DBAPIError as error:
        raise StorageError(f"{database.name} cannot be a ledger: {_said(error)}") from error


def refuse_missing(database: Database) -> None:
    """What only looks makes no books: of a mistyped address it would say that nothing was spent.

    Raises:
        ConfigurationError: It has no tables, or cannot be reached.
        StorageError: It is no ledger.
    """
    if version_of(database) is None:
        raise ConfigurationError(
            f"there is no ledger {database.name}; a gateway makes it, and so does: llmgate ledger upgrade"
        )


def upgrade(database: Database) -> Upgrade:
    """Bring its tables to this version, all or nothing; a copy of a file is made first.

    Raises:
        ConfigurationError: It cannot be reached or written, or alembic is not installed.
        StorageError: Its tables are newer, or it is no ledger.
    """
    before = version_of(database)
    if before == SCHEMA_VERSION:
        return Upgrade(before, before)
    if before is None:
        prepare(database)
        return Upgrade(None, SCHEMA_VERSION)
    if before > SCHEMA_VERSION or before < 1:
        _refuse(before, database)
    copy = None
    if database.copy is not None:
        copy = database.copy(f"version{before}-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        with database.connect(writing=True) as connection, connection.begin():
            database.alone(connection)
            _migrate(connection)
    except OperationalError as error:
        raise ConfigurationError(f"the ledger {database.name} cannot be written: {_said(error)}") from error
    except DBAPIError as error:
        raise StorageError(f"the ledger {database.name} could not be upgraded: {_said(error)}") from error
    return Upgrade(before, SCHEMA_VERSION, copy)


def _migrate(connection: Connection) -> None:
    try:
        from alembic import command
        from alembic.config import Config
    except ImportError as missing:
        raise ConfigurationError(
            "upgrading a ledger needs alembic: pip install 'llmgate-plugins[sql]'"
        ) from missing
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    if not inspect(connection).has_table(revision.name):  # made before there were migrations
        found = connection.execute(select(schema.c.version)).scalar_one()
        revision.create(connection)
        connection.execute(insert(revision), {"version_num": f"{found:04}"})
    command.upgrade(config, "head")


def _make(connection: Connection) -> int:
    metadata.create_all(connection)
    connection.execute(insert(schema), {"id": 1, "version": SCHEMA_VERSION})
    connection.execute(insert(revision), {"version_num": REVISION})
    return SCHEMA_VERSION


def _version(connection: Connection, database: Database) -> int | None:
    names = set(inspect(connection).get_table_names())
    if schema.name in names:
        return connection.execute(select(schema.c.version)).scalar() or 0
    taken = names & {attempts.name, calls.name}
    if taken:
        raise StorageError(
            f"{database.name} has a table {min(taken)!r} that is not llmgate's; "
            "give the ledger a database of its own"
        )
    return None


def _refuse(found: int, database: Database) -> None:
    if found > SCHEMA_VERSION:
        way_out = "use the llmgate that wrote it, or a newer one"
    elif found >= 1:
        way_out = f"run `llmgate ledger upgrade {database.name}`"
    else:
        way_out = "move it aside and start a new one"
    raise StorageError(
        f"the ledger {database.name} has tables of version {found}; this llmgate has version "
        f"{SCHEMA_VERSION}: {way_out}"
    )


def _said(error: DBAPIError) -> str:
    """The driver's words, in one line."""
    return " ".join(str(error.orig).split())
