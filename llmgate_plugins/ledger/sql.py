"""The books in a database, by way of one writer thread."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger.rows import ENDS, check_columns, not_an_end
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.ledger.sqlite import address_of, connect
from llmgate_plugins.ledger.tables import Tables
from llmgate_plugins.ledger.writer import Entry, Writer
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Settlement, Standing

__all__ = ["SqlLedger"]


class SqlLedger:
    """Rows that outlive the process, in an SQLite file.

    Guarantees:
        - An answer is there when its row is committed: what `open_attempt`,
          `settle_attempt` or `close_call` was about is in the file when its `Future` is
          done without error.
        - Death of the process, `kill -9` included, loses no acknowledged row. With
          `durability="normal"` a crash of the operating system or a power cut may lose
          the last commits (never damage the file); with "full" it loses none.
        - One row per (call_id, number) and per call_id, among all processes; an attempt
          settles once, by compare-and-set. A repeat changes nothing.
        - A row that cannot be written fails alone: its future gets a `StorageError`, the
          others of its transaction are written.
        - Many threads and many processes may use one file on a local disk. Forking is
          safe; a future from before the fork belongs to the parent.
        - At most `queue_limit` rows wait; then the methods block for up to
          `queue_patience` seconds and raise `StorageError`.

    Everything handed over is written by `close()`, at the latest when the interpreter
    ends (a child of `multiprocessing` ends without that: call `flush()` there).

    Args:
        url: "sqlite:///FILE", or with four slashes an absolute path.
        durability: "normal" or "full"; None for what the URL says ("?durability=full"),
            else "normal".
        queue_limit: Rows that may wait to be written.
        queue_patience: Seconds to wait for room in a full queue.
        batch: The most rows in one transaction.

    Raises:
        ConfigurationError: The file cannot be opened or written.
        StorageError: Not a database, or one with tables of another version.
    """

    durable = True

    def __init__(
        self,
        url: str,
        *,
        durability: str | None = None,
        queue_limit: int = 10_000,
        queue_patience: float = 5.0,
        batch: int = 500,
    ) -> None:
        self.path, from_url = address_of(url)
        durability = durability or from_url
        if durability not in ("normal", "full"):
            raise ConfigurationError(f"the ledger's durability is 'normal' or 'full', not {durability!r}")
        self._tables = Tables(connect(self.path, durability), self.path)
        try:
            self._tables.prepare()
        except BaseException:
            self._tables.disconnect()
            raise
        self._writer = Writer(self._tables, limit=queue_limit, patience=queue_patience, batch=batch)
        # Also runs when the interpreter ends. The writer does not know this object, so
        # it can be collected while its thread is alive.
        self._closing = weakref.finalize(self, self._writer.close)

    def open_attempt(self, intent: AttemptIntent) -> Future[None]:
        """Write the intent. Once per (call_id, number); a repeat changes nothing."""
        label = f"open attempt {intent.number} of call {intent.call_id}"
        return self._writer.put(Entry("open", label, intent))

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> Future[bool]:
        """From intent to settled, or from what recovery booked to what it really was. False,
        and no change, on a repeat.

        Raises:
            ValueError: The status is not an end.
        """
        if settlement.status not in ENDS:
            raise ValueError(not_an_end(settlement))
        label = f"settle attempt {number} of call {call_id}"
        return self._writer.put(Entry("settle", label, (call_id, number, settlement)))

    def close_call(self, record: DecisionRecord) -> Future[None]:
        """Write the call's terminal row. Once per call_id; a repeat changes nothing."""
        return self._writer.put(Entry("close", f"close call {record.call_id}", record))

    def recover(self, *, older_than: float, now: float) -> int:
        """Turn intents opened more than `older_than` seconds before `now` (Unix time)
        into status "unknown" at their estimate; how many.

        May run in many processes at once: each intent is counted by one of them."""
        span = (now - older_than, now)
        count: int = self._writer.put(Entry("recover", "recover intents", span)).result()
        return count

    def standing(
        self, where: Mapping[str, str | None], *, since: float, until: float, part: float | None = None
    ) -> Future[Standing]:
        """What the attempts opened in [since, until) have used, of all processes; see
        `Ledger.standing`. Read in a thread of its own."""
        check_columns(where)
        pending: Future[Standing] = Future()

        def read() -> None:
            try:
                self.flush()
                pending.set_result(self._tables.standing(where, since, until, part))
            except Exception as error:  # noqa: BLE001 - whoever waits is told
                pending.set_exception(error)

        threading.Thread(target=read, name="llmgate-ledger-standing", daemon=True).start()
        return pending

    def flush(self) -> None:
        """Return when everything handed over so far is written, or its future has the error."""
        self._writer.flush()

    def close(self) -> None:
        """Write what waits and let go of the file and the thread. Idempotent.

        Rows can still be read; nothing can be written any more."""
        self._closing()

    def attempts(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Attempt rows as plain values, oldest first."""
        return self._read("attempts", call_id)

    def calls(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Call rows as plain values, oldest first."""
        return self._read("calls", call_id)

    def _read(self, name: str, call_id: str | None) -> list[dict[str, Any]]:
        self.flush()
        try:
            return self._tables.rows(attempts if name == "attempts" else calls, call_id)
        finally:
            if self._writer.closed:
                self._tables.disconnect()
