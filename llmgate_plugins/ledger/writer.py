"""One thread per process that brings into the books what others hand over, many rows at once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.delivering import Delivery
from llmgate_plugins.ledger.draining import Drain
from llmgate_plugins.ledger.entries import Entry, Step, step_of
from llmgate_plugins.ledger.facts import READERS
from llmgate_plugins.ledger.flushing import Flushing
from llmgate_plugins.ledger.forking import hold_over_forks
from llmgate_plugins.ledger.outbox import REMEMBERED, Outbox
from llmgate_plugins.ledger.queueing import Queue
from llmgate_plugins.ledger.watching import TICK, Watch
from llmgate_plugins.promises import Promise

__all__ = ["Books", "Writer"]

log = logging.getLogger("llmgate.ledger")

LATER: Final = 5.0
"""Seconds until housekeeping that the books did not allow is tried again."""
LATE: Final = frozenset({"settle", "close", "content", "assign"})
"""Kinds of rows with which ends what was begun before the books were closed."""
LATEST: Final = 5.0
"""Seconds that such a row waits for what was handed over before it."""


class Books(Protocol):
    """Where a writer writes."""

    def write(self, steps: Sequence[Step]) -> list[Any]:
        """Write them all; per step its answer, or the exception that kept it out.

        Raises `Away` if none of them was written, and none is to blame."""

    def tend(self) -> float | None:
        """A small piece of housekeeping, if it is time; seconds until the next, None for never."""

    def disconnect(self) -> None:
        """Let go of every connection; they come back when needed."""

    def before_fork(self) -> None:
        """Wait until nothing is read, and let go of every connection."""

    def after_fork(self, *, child: bool) -> None:
        """Go on."""


class Writer:
    """A bounded queue and the thread that empties it into the books, or into the outbox.

    Guarantees:
        - Entries are written in the order of their `put`. A promise is kept after the
          commit that holds its row, or after the outbox has it, by a thread of the writer:
          callbacks must be short. What the outbox has is not yet compared with the books: a
          settlement is then answered True.
        - With `ahead`, every row goes to the outbox first, in the hand of whoever has it if that
          calls `write_ahead`, and is as safe there as the file; from there to the books, at most
          every `linger` seconds, many at once. Where the outbox takes none, the books do; after a
          row that these refused, who hands over the next is told what they say to it.
        - While the books are away (locked, full, gone), or take longer than `watching.SLOW` seconds,
          rows go to the outbox, and from there to the books when they are back, in order.
          Only when the outbox takes no more either, promises get a `StorageError`.
        - At most `limit` entries wait. `put` then blocks for up to `patience` seconds and
          raises `StorageError`, having taken nothing.
        - Once closed, it takes nothing but the ends of what was begun before, and writes them at once.
        - After a fork the child starts with an empty queue, no connection, no outbox and
          threads of its own; the parent goes on and writes what was handed over before. No
          connection is ever open across a fork.

    Args:
        books: Where to write.
        outbox: Where rows wait while the books are away.
        limit: Entries that may wait.
        patience: Seconds for which a full queue blocks.
        batch: The most entries in one transaction.
        linger: Seconds for which more are waited for, where nobody waits for them.
        ahead: Whether rows go to the outbox first.
    """

    def __init__(
        self,
        books: Books,
        outbox: Outbox,
        *,
        limit: int,
        patience: float,
        batch: int,
        linger: float = 0.0,
        ahead: bool = False,
    ) -> None:
        self.books = books
        self.outbox = outbox
        self.drain = Drain(outbox, books.write)
        self._delivery = Delivery(books.write, self.drain, ahead=ahead)
        self.limit = limit
        self.patience = patience
        self.batch = batch
        self.linger = linger
        self.ahead = ahead
        self.gate = threading.RLock()  # held while something is being written
        self._tend_at: float | None = None
        self._begin(closed=False)
        hold_over_forks(self)

    def _begin(self, *, closed: bool) -> None:
        linger = 0.0 if self.ahead else self.linger
        self.queue = Queue(limit=self.limit, patience=self.patience, batch=self.batch, linger=linger)
        self.queue.closed = closed
        self.watch = Watch(self.queue, self._delivery.keep)
        self._flushing = Flushing(self.drain, self.watch, self.put)
        self._thread: threading.Thread | None = None
        self._dozing = False  # the thread sleeps until it is woken, whatever comes to the outbox

    @property
    def closed(self) -> bool:
        """Whether nothing more can be handed over."""
        return self.queue.closed

    @property
    def away(self) -> bool:
        """Whether rows of this process wait in the outbox because the books take none."""
        if self.ahead:
            return self.outbox.waiting and (self.drain.fails or self.watch.is_late)
        return self.outbox.waiting

    # ------------------------------------------------------------ whoever hands over

    def write_ahead(self, kind: str, subject: Any) -> bool:
        """Have it safe in the outbox when this returns; False where it must be put instead."""
        drain, outbox = self.drain, self.outbox
        if drain.refuses or self.queue.closed:
            return False
        try:
            read = READERS.get(kind)
            if read is None or drain.fails or outbox.taken - outbox.given >= REMEMBERED:
                outbox.put((step_of(kind, subject),))
            else:
                outbox.put_brief(read(subject), subject if kind == "close" else None)
        except Exception:  # noqa: BLE001 - whoever waits for the entry that is put is told
            return False
        if self._dozing or self._thread is None:
            self._start()
            self.queue.wake()
        return True

    def put(self, entry: Entry) -> Promise[Any]:
        """Hand an entry over. Raises `StorageError` if closed, or full for too long."""
        if self.queue.closed and entry.kind in LATE:
            return self._put_late(entry)
        self.queue.put(entry)
        if self._thread is None:
            self._start()
        self.watch.look_again()
        return entry

    def _put_late(self, entry: Entry) -> Promise[Any]:
        """The end of what was under way when all was closed: written here and now, after the rest."""
        if self._thread is not None:
            self._thread.join(LATEST)
            if self._thread.is_alive():
                raise StorageError("the ledger is closed, and its database does not answer")
        with self.gate:
            self._delivery.bring_in([entry])
            self.drain.close()
            self.books.disconnect()
        return entry

    def _start(self) -> None:
        with self.queue.lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llmgate-ledger", daemon=True)
                self._thread.start()

    def tend(self) -> None:
        """Tend the books whenever they want it, from the first entry on, also after a fork."""
        self._tend_at = time.monotonic()
        self.queue.wake()

    def flush(self) -> None:
        """Return when everything handed over so far is in the books or has failed, and what dead
        processes have left.

        Raises:
            StorageError: The books are away, and rows wait in the outbox.
        """
        if threading.current_thread() is self._thread:
            raise StorageError("a callback of the ledger's writer cannot wait for that writer")
        if self.outbox.waiting_of_all():
            self.drain.look_around = True
        elif not self.outbox.waiting and not self.queue and (self._thread is None or self.closed):
            return
        there = False
        if not self.closed:
            with contextlib.suppress(StorageError):  # closed meanwhile, which flushes
                there = self._flushing.flush()
        if not there and (self.outbox.waiting or not self.closed):
            raise StorageError(
                f"the ledger's database is away; rows wait for it in the outbox {self.outbox.directory}"
            )

    def gather(self, patience: float) -> None:
        """Return when all that any process of this machine had in an outbox is in the books.

        Raises:
            StorageError: It was not within so many seconds.
        """
        self._flushing.gather(patience, self.flush)

    def close(self) -> None:
        """Write what waits, end the threads, let go of the connections. Idempotent."""
        self.queue.close()
        self.watch.close()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            while thread.is_alive():
                thread.join(TICK)
                if self.watch.is_hopeless:
                    log.error("the ledger is left before its database answers; rows wait in the outbox")
                    return
        with self.gate:
            self.books.disconnect()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while (entries := self._take()) is not None:
            with self.gate:
                if entries:
                    self._write(entries)
                self.drain.piece()
                self._flushing.answer()
                if self.ahead or not self.outbox.waiting:
                    self._tend()
            self.watch.end()
            del entries  # a thread that waits must not keep the last rows alive
        self.watch.begin(())
        with self.gate:
            self.drain.close()
            self._flushing.answer(give_up=True)
        self.watch.end()

    def _take(self) -> Sequence[Entry] | None:
        with self.queue.lock:  # nobody may think that the writer has nothing to do in between
            entries = self.queue.take(self._until_due)
            self._dozing = False
            if entries is not None:
                self.watch.begin(entries)
        return entries

    def _until_due(self) -> float | None:
        self._dozing = True  # first of all: what comes to the outbox from here on wakes this thread
        drain_at = self.drain.due
        if drain_at is not None and self.ahead and self.outbox.waiting:
            self._dozing = False  # it wakes in time by itself
            if not self._flushing.wanted:
                drain_at = max(drain_at, self.outbox.since + self.linger)
        due = [at for at in (drain_at, self._tend_at) if at is not None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _write(self, entries: Sequence[Entry]) -> None:
        self._delivery.bring_in([entry for entry in entries if entry.kind != "flush"])
        flushes = [entry for entry in entries if entry.kind == "flush"]
        if flushes:
            self._flushing.take(flushes)

    def _tend(self) -> None:
        if self._tend_at is None or time.monotonic() < self._tend_at:
            return
        seconds = None
        try:
            seconds = self.books.tend()
        except StorageError as error:
            log.warning("the ledger could not be tended, and will be later: %s", error)
            seconds = LATER
        except Exception:
            log.exception("the ledger's housekeeping failed, and is tried again later")
            seconds = 60.0
        self._tend_at = None if seconds is None else time.monotonic() + seconds
        self.drain.look_around = True

    # ------------------------------------------------------------ fork

    def before_fork(self) -> None:
        """Hold everything still, so that the child finds it whole."""
        self.gate.acquire()
        self.queue.lock.acquire()
        self.outbox.before_fork()
        self.books.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        self.books.after_fork(child=False)
        self.outbox.after_fork()
        self.queue.lock.release()
        self.gate.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the writing thread stayed in the parent."""
        self.books.after_fork(child=True)
        self.drain.forget()
        self.gate = threading.RLock()
        self._begin(closed=self.queue.closed)
