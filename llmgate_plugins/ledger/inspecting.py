"""How a ledger stands, whatever version its tables have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.schema import SCHEMA_VERSION, attempts, calls
from llmgate_plugins.ledger.segments import Extent
from llmgate_plugins.ledger.sweeping import is_over
from llmgate_plugins.ledger.upgrading import version_of

__all__ = ["Condition", "inspect_ledger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a ledger stands.

    Attributes:
        version: Of its tables; None if it has none.
        current: Of the tables that this llmgate writes.
        attempts, calls: Rows.
        cost_nano_usd: Of all attempts.
        oldest, newest: Unix time of the first and of the last attempt.
        open: Attempts under way.
        expired: Those of them whose time is over.
        waiting: Bytes in its outbox, of all processes.
    """

    name: str
    durability: str
    version: int | None
    current: int = SCHEMA_VERSION
    attempts: int = 0
    calls: int = 0
    cost_nano_usd: int = 0
    oldest: float | None = None
    newest: float | None = None
    open: int = 0
    expired: int = 0
    waiting: int = 0


def inspect_ledger(database: Database, outbox: Path, now: float) -> Condition:
    """Look at a ledger.

    Raises:
        ConfigurationError: It cannot be reached.
        StorageError: It is no ledger.
    """
    version = version_of(database)
    extents = [extent for one in outbox.glob("*.outbox") if (extent := Extent.of(one)) is not None]
    waiting = sum(extent.waiting for extent in extents)
    known = Condition(name=database.name, durability=database.durability, version=version, waiting=waiting)
    if version is None:
        return known
    is_open = attempts.c.status == "intent"
    over = is_over(now) if version == SCHEMA_VERSION else attempts.c.at < now
    try:
        with database.connect() as connection:
            count, cost, oldest, newest = connection.execute(
                select(
                    func.count(),
                    func.sum(attempts.c.cost_nano_usd),
                    func.min(attempts.c.at),
                    func.max(attempts.c.at),
                ).select_from(attempts)
            ).one()
            return Condition(
                name=database.name,
                durability=database.durability,
                version=version,
                attempts=count,
                calls=connection.scalar(select(func.count()).select_from(calls)) or 0,
                cost_nano_usd=int(cost or 0),
                oldest=oldest,
                newest=newest,
                open=connection.scalar(select(func.count()).where(is_open)) or 0,
                expired=connection.scalar(select(func.count()).where(is_open, over)) or 0,
                waiting=waiting,
            )
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise StorageError(f"the ledger {database.name} could not be read: {said}") from error
