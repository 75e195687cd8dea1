"""The books in a database, by way of one writer thread."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine

from llmgate_plugins.ledger import sweeping
from llmgate_plugins.ledger.call_rows import assignment_rows
from llmgate_plugins.ledger.counters import Counters
from llmgate_plugins.ledger.entries import Entry
from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.outbox import MOST_BYTES, MOST_SECONDS, Outbox
from llmgate_plugins.ledger.reading import GATHERING, Reading
from llmgate_plugins.ledger.retention import Retention
from llmgate_plugins.ledger.rows import ENDS, not_an_end
from llmgate_plugins.ledger.sweeping import Sweeper
from llmgate_plugins.ledger.tables import Tables
from llmgate_plugins.ledger.upgrading import prepare
from llmgate_plugins.ledger.writer import Writer
from llmgate_plugins.promises import Promise
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Clock, Feedback, Settlement

__all__ = ["SqlLedger"]

LINGER: Final = 0.005
"""Seconds for which rows that nobody waits for are gathered: each time the writer is woken costs a call."""
LINGER_AHEAD: Final = 0.02
"""The same for rows that are safe in the outbox."""
_WRITTEN: Final[Promise[None]] = Promise.of(None)
_SETTLED: Final[Promise[bool]] = Promise.of(True)
"""What is answered where nobody waits."""


class SqlLedger(Reading):
    """Rows that outlive the process, in an SQLite file or a PostgreSQL database.

    Guarantees:
        - An answer is there when its row is safe: what `open_attempt`, `settle_attempt` or
          `close_call` was about is in the outbox on disk (SQLite, "normal"), or committed, or
          in the outbox while the database takes no rows. From the outbox a settlement is
          answered True, whether it was the first or not.
        - Death of the process, `kill -9` included, loses no acknowledged row; of a call in the
          last 20 ms before (10,000 rows at most), the row says all but how it was decided (SQLite,
          "normal"). With
          `durability="normal"` a crash of the operating system or a power cut may lose
          the last rows (never damage the database); with "full" it loses none. With
          "queued" nobody waits: answers are given at once, and whatever kills the process
          takes along the rows that wait to be written.
        - One row per (call_id, number) and per call_id, among all processes; an attempt
          settles once, by compare-and-set. A repeat changes nothing.
        - A row that cannot be written fails alone: its promise gets a `StorageError`, or it is
          put aside in the outbox and the next one waits for what the database says to it. The
          others of its transaction are written.
        - A database that is locked, full, slow or gone holds nobody up for more than about
          2 s: rows then go to the outbox, and to the database when it is back, in order and
          once, also after a crash. The outbox takes up to 1 GiB, for up to an hour; after
          that a `StorageError` says that nothing is booked.
        - Many threads and many processes may use one database (an SQLite file: on a local
          disk). Forking is safe; a promise from before the fork belongs to the parent.
        - At most `queue_limit` rows wait; then the methods block for up to
          `queue_patience` seconds and raise `StorageError`.

    Everything handed over is written by `close()`, at the latest when the interpreter
    ends (a child of `multiprocessing` ends without that: call `flush()` there).

    Args:
        url: "sqlite:///FILE" (four slashes: an absolute path), "postgresql://...";
            "?durability=full" and "?outbox=DIRECTORY" may follow.
        durability: "queued", "normal" or "full"; None for what the URL says, else "normal" for SQLite
            and "full" for PostgreSQL.
        outbox: Directory in which rows wait while the database is away; None for what the URL
            says, else next to the file, or in the user's state directory for PostgreSQL.
        queue_limit: Rows that may wait to be written.
        queue_patience: Seconds to wait for room in a full queue.
        batch: The most rows in one transaction.
        outbox_limit, outbox_patience: The most bytes that wait in the outbox, and seconds.
        retention, content_retention: How long rows are kept, and what was asked and answered.

    Raises:
        ConfigurationError: The database cannot be opened or written.
        StorageError: Not a database, or one with tables of another version.
    """

    durable = True

    def __init__(
        self,
        url: str,
        *,
        durability: str | None = None,
        outbox: str | Path | None = None,
        queue_limit: int = 10_000,
        queue_patience: float = 2.0,
        batch: int = 500,
        outbox_limit: int = MOST_BYTES,
        outbox_patience: float = MOST_SECONDS,
        retention: Retention | None = None,
        content_retention: Retention | None = None,
    ) -> None:
        self._database = open_database(url, durability=durability)
        self._retention = retention or Retention()
        self._content_retention = content_retention or Retention()
        self._waits = self._database.durability != "queued"
        self._ahead = self._database.ahead
        tables = Tables(self._database)
        try:
            prepare(self._database)
        except BaseException:
            tables.disconnect()
            raise
        box = Outbox(
            self._database.outbox if outbox is None else Path(outbox).expanduser().absolute(),
            sync=self._database.durability == "full",
            limit=outbox_limit,
            patience=outbox_patience,
        )
        writer = Writer(
            tables,
            box,
            limit=queue_limit,
            patience=queue_patience,
            batch=batch,
            linger=LINGER_AHEAD if self._ahead else 0.0 if self._waits else LINGER,
            ahead=self._ahead,
        )
        super().__init__(tables, writer)
        # Also runs when the interpreter ends. The writer does not know this object, so
        # it can be collected while its thread is alive.
        self._closing = weakref.finalize(self, writer.close)

    @property
    def name(self) -> str:
        """Names the database, without a password."""
        return self._database.name

    @property
    def away(self) -> bool:
        """Whether the database takes no rows, so that those of this process wait in the outbox."""
        return self._writer.away

    @property
    def others(self) -> int:
        """How many other ledgers write to it now, of this machine. SQLite, "normal"; else 0."""
        return self._writer.outbox.others() if self._ahead else 0

    @property
    def engine(self) -> Engine:
        """Connections to the database, for reading; see `reading`."""
        return self._database.engine

    def __repr__(self) -> str:
        return f"SqlLedger({self.name!r})"

    # ------------------------------------------------------------ writing

    def open_attempt(self, intent: AttemptIntent) -> Promise[None]:
        """Write the intent. Once per (call_id, number); a repeat changes nothing."""
        return self._put("open", intent, _WRITTEN)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> Promise[bool]:
        """From intent to settled, or from what recovery booked to what it really was. False,
        and no change, on a repeat. From the outbox, and where nobody waits, it is always True.

        Raises:
            ValueError: The status is not an end.
        """
        if settlement.status not in ENDS:
            raise ValueError(not_an_end(settlement))
        return self._put("settle", (call_id, number, settlement), _SETTLED)

    def close_call(self, record: DecisionRecord) -> Promise[None]:
        """Write the call's terminal row. Once per call_id; a repeat changes nothing."""
        if record.experiments:  # in the same transaction or one before
            for row in assignment_rows(record):
                self._put("assign", row, _WRITTEN)
        return self._put("close", record, _WRITTEN)

    def add_feedback(self, feedback: Feedback) -> Promise[None]:
        """Keep it. Once per id; a repeat changes nothing."""
        return self._put("feedback", feedback, _WRITTEN)

    def keep_content(self, content: Mapping[str, Any]) -> Promise[None]:
        """Write what was asked and answered (a row of `contents`). Once per call_id."""
        return self._put("content", dict(content), _WRITTEN)

    def _put(self, kind: str, subject: Any, otherwise: Promise[Any]) -> Promise[Any]:
        """Hand it over; the promise of its answer, or this one where nobody has to wait for that."""
        if self._ahead and self._writer.write_ahead(kind, subject):
            return otherwise
        promise = self._writer.put(Entry(kind, subject))
        return promise if self._waits else otherwise

    def counters(self, clock: Clock) -> Counters:
        """What processes with these books count together, apart from all rows: who tells an alert."""
        return Counters(self._database, self._tables.writing_beside, clock)

    # ------------------------------------------------------------ housekeeping

    def attend(self, clock: Clock) -> None:
        """Recover expired intents and remove old rows, from the next row on, by this clock.

        A gateway asks for it. An intent whose time is over (`expires`), or that does not say
        and is an hour old, is booked as "unknown" at its estimate, within 5 s; what has been
        kept long enough is removed once an hour."""
        self._tables.sweeper = Sweeper(self._database, clock, self._retention, self._content_retention)
        self._writer.tend()

    def recover(self, *, older_than: float, now: float) -> int:
        """Turn intents opened more than `older_than` seconds before `now` (Unix time)
        into status "unknown" at their estimate; how many.

        May run in many processes at once: each intent is counted by one of them."""
        with self.changing() as connection:
            return sweeping.recover(connection, before=now - older_than, now=now)

    def recover_expired(self, *, now: float) -> int:
        """The same for intents whose time is over (see `attend`)."""
        with self.changing() as connection:
            return sweeping.recover_expired(connection, now)

    def purge(
        self, *, now: float, retention: Retention | None = None, content_retention: Retention | None = None
    ) -> int:
        """Remove rows that have been kept long enough, by the ledger's own rules or these; how many."""
        self._bring_in(GATHERING)
        rows, contents = retention or self._retention, content_retention or self._content_retention
        return sum(sweeping.purge(self._database, now, rows, contents))

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction that may change rows, apart from all that is being written: what was handed
        over before, by any process of this machine that does not stand still, is there.

        Raises:
            StorageError: The database takes no rows.
        """
        self._bring_in(GATHERING)
        with self._writer.gate, self._tables.writing() as connection:
            yield connection

    def close(self) -> None:
        """Write what waits and let go of the database and the thread. Idempotent.

        Rows can still be read, and what is under way still settled; nothing new can be begun."""
        self._closing()
