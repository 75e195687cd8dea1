"""The books: one row per attempt, one terminal row per call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.memory import MemoryLedger
from llmgate_plugins.ledger.naming import labels_of
from llmgate_plugins.ledger.retention import Retention
from llmgate_plugins.services import Ledger

if TYPE_CHECKING:
    from llmgate_plugins.ledger.sql import SqlLedger

__all__ = ["MemoryLedger", "Retention", "SqlLedger", "labels_of", "open_ledger"]


def open_ledger(
    url: str = "memory",
    *,
    durability: str | None = None,
    outbox: str | Path | None = None,
    retention: Retention | None = None,
    content_retention: Retention | None = None,
) -> Ledger:
    """The ledger that a configuration names.

    Args:
        url: "memory" (the last 100,000 rows of this process), "sqlite:///llmgate.db"
            (a path relative to the working directory), "sqlite:////var/lib/llmgate.db"
            (an absolute one) or "postgresql://user@host/database"; "?durability=full",
            "=normal" or "=queued" at the end says how safe a row is, "?outbox=DIRECTORY"
            where rows wait while the database is away.
        durability, outbox: The same; they win over what the URL says.
        retention, content_retention: How long rows are kept; for ever if left out.

    Raises:
        ConfigurationError: No such kind of ledger, a package that is not installed, or
            a database that cannot be reached or written.
        StorageError: A database with tables of another version, or none at all.
    """
    url = url.strip()
    scheme = url.partition(":")[0].lower()
    if url.lower() in ("memory", "memory:", "memory://"):
        return MemoryLedger()
    if scheme in ("sqlite", "sqlite+pysqlite", "postgres", "postgresql", "postgresql+psycopg"):
        return _sql_ledger()(
            url,
            durability=durability,
            outbox=outbox,
            retention=retention,
            content_retention=content_retention,
        )
    # Only the scheme is shown: what follows it may hold a password.
    raise ConfigurationError(
        f"ledger {scheme!r} is not known; there are: memory, sqlite:///FILE, postgresql://HOST/DATABASE"
    )


def _sql_ledger() -> type[SqlLedger]:
    try:
        from llmgate_plugins.ledger.sql import SqlLedger
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "sqlalchemy":
            raise
        raise ConfigurationError(
            "a ledger in a database needs SQLAlchemy: pip install 'llmgate-plugins[sql]'"
        ) from missing
    return SqlLedger


def __getattr__(name: str) -> Any:
    # SqlLedger brings SQLAlchemy along, so it is imported when it is asked for.
    if name == "SqlLedger":
        return _sql_ledger()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
