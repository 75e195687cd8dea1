"""What can be read of the books in a database, whatever is on its way there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.naming import check_columns
from llmgate_plugins.ledger.schema import assignments, attempts, calls, contents, feedback
from llmgate_plugins.ledger.tables import Tables, standing_in
from llmgate_plugins.ledger.writer import Writer
from llmgate_plugins.services import ShadowCalls, Standing

__all__ = ["GATHERING", "Reading"]

T = TypeVar("T")

GATHERING: Final = 5.0
"""Seconds that whoever changes the books, or tells a state of them, waits for rows in outboxes."""
OTHERS: Final = 0.2
"""Seconds that a reader waits for rows that other processes have in their outboxes."""


class Reading:
    """The half of a ledger that reads.

    Args:
        tables: Where the rows are.
        writer: What brings them there.
    """

    def __init__(self, tables: Tables, writer: Writer) -> None:
        self._tables = tables
        self._writer = writer

    def flush(self) -> None:
        """Return when everything handed over so far is in the database, or its promise has the error.

        Raises:
            StorageError: The database is away, and rows of this process wait in the outbox.
        """
        self._writer.flush()

    def _bring_in(self, patience: float) -> None:
        """`flush`, and wait for so many seconds for what other processes of this machine have handed over."""
        self.flush()
        with suppress(StorageError):
            self._writer.gather(patience)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with, which sees all that was handed over before, and what other
        processes of this machine handed over, unless they stand still. Do not write with it.

        Raises:
            StorageError: The database cannot be read, or is away while rows wait for it.
        """
        self._bring_in(OTHERS)
        try:
            with self._tables.reading() as connection:
                yield connection
        finally:
            if self._writer.closed:
                self._tables.disconnect()

    def standing(
        self,
        where: Mapping[str, str | None],
        *,
        since: float,
        until: float,
        part: float | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> Future[Standing]:
        """What the attempts opened in [since, until) have used, of all processes; see
        `Ledger.standing`. Read in a thread of its own."""
        check_columns(where)

        def read() -> Standing:
            with self.reading() as connection:
                return standing_in(connection, where, since, until, part, shadow_calls)

        return _in_thread(read)

    def gather(self) -> Future[None]:
        """Wait until what any process of this machine had in its outbox is in the books, in a thread
        of its own. `StorageError` if that takes longer than `GATHERING` seconds."""
        return _in_thread(lambda: self._writer.gather(GATHERING))

    def attempts(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Attempt rows as plain values, oldest first."""
        return self._rows(attempts, call_id)

    def calls(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Call rows as plain values, oldest first."""
        return self._rows(calls, call_id)

    def contents(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """What was asked and answered, where that is kept, oldest first."""
        return self._rows(contents, call_id)

    def assignments(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Which call was under which arm of which experiment, oldest first."""
        return self._rows(assignments, call_id)

    def feedback(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Rows of feedback as plain values, oldest first."""
        return self._rows(feedback, call_id)

    def _rows(self, table: Table, call_id: str | None) -> list[dict[str, Any]]:
        with self.reading() as connection:
            return self._tables.rows(connection, table, call_id)


def _in_thread(work: Callable[[], T]) -> Future[T]:
    pending: Future[T] = Future()

    def run() -> None:
        if not pending.set_running_or_notify_cancel():
            return
        try:
            pending.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            pending.set_exception(error)

    threading.Thread(target=run, name="llmgate-ledger-standing", daemon=True).start()
    return pending
