"""Housekeeping: intents that nobody will settle any more, rows that have been kept long enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    and_,
    delete,
    exists,
    or_,
    select,
    true,
    tuple_,
    update,
)

from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.retention import Retention
from llmgate_plugins.ledger.schema import assignments, attempts, calls, contents, feedback
from llmgate_plugins.services import Clock

__all__ = ["ABANDONED", "Sweeper", "is_over", "purge", "recover", "recover_expired"]

ABANDONED: Final = 3600.0
"""Seconds after which an intent that does not say when it must be over is given up."""
RECOVER_EVERY: Final = 4.0
"""Seconds: an intent is booked within five of the end of its time."""
PURGE_EVERY: Final = 3600.0
BATCH: Final = 500
"""Calls that are removed in one transaction, so that nobody waits for long."""


class Sweeper:
    """What is done from time to time in the writer's thread, a small piece at a time.

    Args:
        database: Whose rows.
        clock: What time it is for intents and for retention.
        rows, contents: How long rows, and what was asked and answered, are kept.
    """

    def __init__(self, database: Database, clock: Clock, rows: Retention, contents: Retention) -> None:
        self._database = database
        self._clock = clock
        self._rows = rows
        self._contents = contents
        self._recover_at = self._purge_at = clock.time()
        self._purging: Iterator[int] | None = None

    def step(self) -> float:
        """Do a piece of what is due; seconds until the next."""
        now = self._clock.time()
        if now >= self._recover_at:
            with self._database.connect(writing=True) as connection, connection.begin():
                recover_expired(connection, now)
            self._recover_at = now + RECOVER_EVERY
        if self._purging is None and now >= self._purge_at:
            self._purging = purge(self._database, now, self._rows, self._contents)
            self._purge_at = now + PURGE_EVERY
        if self._purging is not None:
            if next(self._purging, None) is not None:
                return 0.01
            self._purging = None
        return max(min(self._recover_at, self._purge_at) - now, 0.01)


def recover(connection: Connection, *, before: float, now: float) -> int:
    """Book intents opened before this moment at their estimate; how many."""
    return _give_up(connection, attempts.c.at < before, now)


def recover_expired(connection: Connection, now: float) -> int:
    """Book intents whose time is over at their estimate; how many.

    Their time is over when they said it would be, or else an hour after they were opened."""
    return _give_up(connection, is_over(now), now)


def is_over(now: float) -> ColumnElement[bool]:
    """Which attempts' time is over, settled or not."""
    expires = attempts.c.expires
    return or_(expires < now, and_(expires.is_(None), attempts.c.at < now - ABANDONED))


def _give_up(connection: Connection, which: ColumnElement[bool], now: float) -> int:
    result = connection.execute(
        update(attempts)
        .where(attempts.c.status == "intent", which)
        .values(
            status="unknown", settled_at=now, cost_nano_usd=attempts.c.estimate_nano_usd, estimated=true()
        )
    )
    return result.rowcount


def purge(database: Database, now: float, rows: Retention, content: Retention) -> Iterator[int]:
    """Remove what has been kept long enough; per transaction, how many rows that were.

    A call goes as a whole, by its own age, with all that belongs to it."""
    for old in _too_old(rows, calls, now):
        ids = select(calls.c.call_id).where(*old).limit(BATCH)
        while removed := _remove(database, ids):
            yield removed
    keys = (attempts.c.call_id, attempts.c.number)
    ended = exists().where(calls.c.call_id == attempts.c.call_id)
    for old in _too_old(rows, attempts, now):  # attempts whose call never ended
        left = select(*keys).where(*old, attempts.c.status != "intent", ~ended).limit(BATCH)
        while removed := _delete(database, delete(attempts).where(tuple_(*keys).in_(left))):
            yield removed
    if rows.default is not None:  # what was said of calls that never were, or that are gone
        of_call = exists().where(calls.c.call_id == feedback.c.call_id)
        lost = select(feedback.c.id).where(feedback.c.at < now - rows.default, ~of_call).limit(BATCH)
        while removed := _delete(database, delete(feedback).where(feedback.c.id.in_(lost))):
            yield removed
    for old in _too_old(content, contents, now):
        ids = select(contents.c.call_id).where(*old).limit(BATCH)
        while removed := _delete(database, delete(contents).where(contents.c.call_id.in_(ids))):
            yield removed


def _remove(database: Database, ids: Select[tuple[str]]) -> int:
    with database.connect(writing=True) as connection, connection.begin():
        found = list(connection.scalars(ids))
        return sum(
            connection.execute(delete(table).where(table.c.call_id.in_(found))).rowcount
            for table in (attempts, contents, assignments, feedback, calls)
            if found
        )


def _delete(database: Database, statement: Delete) -> int:
    with database.connect(writing=True) as connection, connection.begin():
        return connection.execute(statement).rowcount


def _too_old(kept: Retention, table: Table, now: float) -> Iterator[tuple[ColumnElement[bool], ...]]:
    """Which rows of a table have been kept long enough; one rule after another, each by an index."""
    for tenant, seconds in kept.tenants.items():
        yield table.c.tenant == tenant, table.c.at < now - seconds
    if kept.default is not None:
        others = or_(table.c.tenant.is_(None), table.c.tenant.not_in(list(kept.tenants)))
        yield table.c.at < now - kept.default, others
