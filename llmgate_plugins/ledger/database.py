"""One database of a ledger, however it is reached: what SQLite and PostgreSQL do each in their own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Table, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.sql.dml import Insert

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.place import Place

__all__ = ["DURABILITY", "OPENING", "PATIENCE", "WRITING", "Database", "Options", "read_url"]

WRITING: Final = "llmgate_writing"
"""Execution option of a connection that will write."""

PATIENCE: Final = 1.0
"""Seconds to wait for a database that another program locks. Then the outbox takes the rows."""

OPENING: Final = 10.0
"""Seconds to wait for others that open or change the same database."""

DURABILITY: Final = ("queued", "normal", "full")
"""From what may lose most: nobody waits; a commit does not wait for the disk; it does."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a ledger's URL says besides where the database is.

    Attributes:
        durability: One of `DURABILITY`; None where it does not say.
        outbox: The directory of the outbox; None where it does not say.
    """

    durability: str | None = None
    outbox: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database.

    Attributes:
        name: Names it in errors: a path, or server and database without a password.
        engine: Connections, set up as a ledger needs them; one that says `WRITING` may write.
        durability: One of `DURABILITY`.
        outbox: The directory in which rows wait while the database does not take any.
        ahead: Whether rows are as safe there as in the database, so that they go there first.
        begin: The statement with which a transaction that writes begins.
        insert_once: Insert a row; nothing happens if its key is there.
        is_away: Whether an error of the driver says that the database takes no rows now,
            whatever they are: it is locked, full, gone. Otherwise a row is to blame.
        alone: Take a lock under which one process at a time makes or changes tables.
        copy: Make a copy of it for safety, and name that; None where only its own tools can.
        place: Knows whether its file still stands under its name; None where it is none.
    """

    name: str
    engine: Engine
    durability: str
    outbox: Path
    begin: str
    insert_once: Callable[[Table], Insert]
    is_away: Callable[[BaseException | None], bool]
    alone: Callable[[Connection], None]
    ahead: bool = False
    copy: Callable[[str], str] | None = None
    place: Place | None = None

    def connect(self, *, writing: bool = False) -> Connection:
        """A connection from the pool; close it."""
        return self.engine.connect().execution_options(**{WRITING: writing})

    def __repr__(self) -> str:
        return f"Database({self.name!r})"


def read_url(url: str) -> tuple[URL, Options, Mapping[str, Any]]:
    """An address, what it says for the ledger, and what else its query says.

    Raises:
        ConfigurationError: Not a URL, or with an option that has no such value. Shows no more
            than its scheme, since the rest may hold a password.
    """
    scheme = url.partition(":")[0]
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"the ledger's address {scheme}:... is not a URL") from None
    rest = dict(parsed.query)
    durability, outbox = rest.pop("durability", None), rest.pop("outbox", None)
    if durability is not None and durability not in DURABILITY:
        raise ConfigurationError(
            f"the ledger's durability is 'queued', 'normal' or 'full', not {durability!r}: "
            "write ?durability=full"
        )
    if isinstance(outbox, tuple):
        raise ConfigurationError("the ledger's address names two outboxes; name one")
    options = Options(
        durability=str(durability) if durability else None,
        outbox=Path(outbox).expanduser().absolute() if outbox else None,
    )
    return parsed, options, rest
