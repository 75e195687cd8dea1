"""Which kind of database an address means."""

from __future__ import annotations

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.database import DURABILITY, Database

__all__ = ["open_database"]


def open_database(url: str, *, durability: str | None = None, reading: bool = False) -> Database:
    """The database that a URL names. Opens nothing yet.

    Args:
        reading: For whoever only looks: nothing is changed, and no right to write is needed.

    Raises:
        ConfigurationError: No such kind of database, or a package that is not installed.
    """
    if durability is not None and durability not in DURABILITY:
        raise ConfigurationError(
            f"the ledger's durability is 'queued', 'normal' or 'full', not {durability!r}"
        )
    if url.startswith("postgres"):
        from llmgate_plugins.ledger.postgres import open_postgres

        return open_postgres(url, durability=durability)
    from llmgate_plugins.ledger.sqlite import open_sqlite

    return open_sqlite(url, durability=durability, reading=reading)
