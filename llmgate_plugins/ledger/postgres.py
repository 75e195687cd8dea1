"""What is particular to PostgreSQL: its address, its connections, its errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.database import PATIENCE, WRITING, Database, read_url
from llmgate_plugins.ledger.plain import dump_json

__all__ = ["open_postgres"]

_CONNECTION: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    # A server that has vanished without a word is noticed after some seconds.
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "llmgate-ledger",
}
_LONGEST_STATEMENT: Final = 30.0
"""Seconds for one statement that writes."""

_AWAY: Final = ("08", "25006", "40", "53", "55P03", "57", "58", "XX")
"""Beginnings of the SQLSTATEs that no row is to blame for: connection, read-only standby,
deadlock, resources, lock, shutdown, system, internal."""

_LOCK: Final = 0x6C6C_6D67
"""Of the advisory lock under which tables are made and changed ("llmg")."""


def open_postgres(url: str, *, durability: str | None = None) -> Database:
    """The database that a PostgreSQL URL names. Connects to nothing yet.

    What the URL's query says besides `durability` and `outbox` goes to libpq (`sslmode`, ...).

    Raises:
        ConfigurationError: Not such a URL, or psycopg is not installed.
    """
    parsed, options, rest = read_url(url)
    durability = durability or options.durability or "full"
    try:
        import psycopg  # noqa: F401 - an extra
    except ImportError as missing:
        raise ConfigurationError(
            "a ledger on PostgreSQL needs psycopg: pip install 'llmgate-plugins[postgres]'"
        ) from missing
    address = parsed.set(drivername="postgresql+psycopg", query=rest)
    name = _name(address)
    engine = create_engine(
        address,
        connect_args={key: value for key, value in _CONNECTION.items() if key not in rest},
        pool_size=2,
        max_overflow=8,
        pool_recycle=1800,
        hide_parameters=True,
        json_serializer=dump_json,
    )
    settings = {
        "lock_timeout": str(int(PATIENCE * 1000)),
        "statement_timeout": str(int(_LONGEST_STATEMENT * 1000)),
        **({"synchronous_commit": "off"} if durability != "full" else {}),
    }
    to_write = _for_this_transaction(settings)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Of the transaction, not of the session: a pooler in between may change sessions.
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql(
            to_write if writing else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        )

    return Database(
        name=name,
        engine=engine,
        durability=durability,
        outbox=options.outbox or _outbox(name),
        begin=to_write,
        insert_once=_insert_once,
        is_away=_is_away,
        alone=_alone,
    )


def _for_this_transaction(settings: Mapping[str, str]) -> str:
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())


def _name(address: URL) -> str:
    place = address.host or "local socket"
    if address.port is not None:
        place += f":{address.port}"
    return f"postgresql://{place}/{address.database or ''}"


def _outbox(name: str) -> Path:
    """In the user's state directory, one for each database."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    mark = hashlib.sha256(name.encode()).hexdigest()[:12]
    return Path(home) / "llmgate" / f"outbox-{mark}"


def _insert_once(table: Table) -> Insert:
    return insert(table).on_conflict_do_nothing()


def _is_away(error: BaseException | None) -> bool:
    import psycopg

    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:  # no word from the server: there is no connection
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_AWAY)


def _alone(connection: Connection) -> None:
    connection.exec_driver_sql(_for_this_transaction({"lock_timeout": "0", "statement_timeout": "0"}))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
