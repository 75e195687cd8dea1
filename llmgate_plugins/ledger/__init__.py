"""The books: one row per attempt, one terminal row per call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.memory import MemoryLedger
from llmgate_plugins.ledger.rows import labels_of
from llmgate_plugins.services import Ledger

if TYPE_CHECKING:
    from llmgate_plugins.ledger.sql import SqlLedger

__all__ = ["MemoryLedger", "SqlLedger", "labels_of", "open_ledger"]


def open_ledger(url: str = "memory") -> Ledger:
    """The ledger that a configuration names.

    Args:
        url: "memory" (the last 100,000 rows of this process), "sqlite:///llmgate.db"
            (a path relative to the working directory) or "sqlite:////var/lib/llmgate.db"
            (an absolute one); "?durability=full" at the end makes every commit wait for
            the disk.

    Raises:
        ConfigurationError: No such kind of ledger, a package that is not installed, or
            a file that cannot be written.
        StorageError: A file with tables of another version, or no database at all.
    """
    scheme = url.partition(":")[0].strip().lower()
    if url.strip().lower() in ("memory", "memory:", "memory://"):
        return MemoryLedger()
    if scheme in ("sqlite", "sqlite+pysqlite"):
        return _sql_ledger()(url.strip())
    # Only the scheme is shown: what follows it may hold a password.
    raise ConfigurationError(f"ledger {scheme!r} is not known; there are: memory, sqlite:///FILE")


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
