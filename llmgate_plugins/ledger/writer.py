"""One thread per process that writes what others hand over, many rows in one transaction."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from llmgate_plugins.errors import StorageError

__all__ = ["Books", "Entry", "Writer"]

log = logging.getLogger("llmgate.ledger")


class Entry:
    """Something to write, and the future of its answer.

    Attributes:
        kind: Which statement ("open", "settle", "close", "recover", "flush").
        subject: What it is about, as the kind has it.
        label: Names it in errors.
    """

    __slots__ = ("future", "kind", "label", "subject")

    def __init__(self, kind: str, label: str, subject: Any = None) -> None:
        self.kind = kind
        self.label = label
        self.subject = subject
        self.future: Future[Any] = Future()


class Books(Protocol):
    """Where a writer writes."""

    def write(self, entries: Sequence[Entry]) -> list[Any]:
        """Write them all; per entry its answer, or the exception that kept it out.

        Raises only if none of them was written."""

    def disconnect(self) -> None:
        """Let go of every connection; they come back when needed."""

    def before_fork(self) -> None:
        """Wait until nothing is read, and let go of every connection."""

    def after_fork(self, *, child: bool) -> None:
        """Go on."""


class Writer:
    """A bounded queue and the thread that empties it.

    Guarantees:
        - Entries are written in the order of their `put`. A future is resolved after the
          commit that holds its row, by the writer thread: callbacks must be short.
        - At most `limit` entries wait. `put` then blocks for up to `patience` seconds and
          raises `StorageError`, having taken nothing.
        - After a fork the child starts with an empty queue, no connection and a thread of
          its own; the parent goes on and writes what was handed over before. No
          connection is ever open across a fork.

    Args:
        books: Where to write.
        limit: Entries that may wait.
        patience: Seconds for which a full queue blocks.
        batch: The most entries in one transaction.
    """

    def __init__(self, books: Books, *, limit: int, patience: float, batch: int) -> None:
        self.books = books
        self.limit = limit
        self.patience = patience
        self.batch = batch
        self.gate = threading.RLock()  # held while something is being written
        self.closed = False
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self._queue: deque[Entry] = deque()
        # Reentrant, since a garbage collection in here may close this very writer.
        self._lock = threading.RLock()
        self._filled = threading.Condition(self._lock)
        self._space = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def put(self, entry: Entry) -> Future[Any]:
        """Hand an entry over. Raises `StorageError` if closed, or full for too long."""
        with self._lock:
            if len(self._queue) >= self.limit:
                self._wait_for_space()
            if self.closed:
                raise StorageError("the ledger is closed; nothing more can be written to it")
            self._queue.append(entry)
            if self._thread is None:
                self._start()
            self._filled.notify()
        return entry.future

    def flush(self) -> None:
        """Return when everything handed over so far is written or has failed."""
        if threading.current_thread() is self._thread:
            raise StorageError("a callback of the ledger's writer cannot wait for that writer")
        with self._lock:
            if not self._queue and (self._thread is None or self.closed):
                return
        with contextlib.suppress(StorageError):  # closed meanwhile, which flushes
            self.put(Entry("flush", "flush")).result()

    def close(self) -> None:
        """Write what waits, end the thread, let go of the connections. Idempotent."""
        with self._lock:
            self.closed = True
            self._filled.notify_all()
            self._space.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self.gate:
            self.books.disconnect()

    def _wait_for_space(self) -> None:
        until = time.monotonic() + self.patience
        while len(self._queue) >= self.limit and not self.closed:
            left = until - time.monotonic()
            if left <= 0:
                raise StorageError(
                    f"the ledger's queue of {self.limit} rows has been full for {self.patience:g} s: "
                    "the disk is too slow or another program locks the database"
                )
            self._space.wait(left)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="llmgate-ledger", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while entries := self._take():
            self._write(entries)
            del entries  # a thread that waits must not keep the last rows alive

    def _take(self) -> list[Entry]:
        """What waits, up to a batch, as soon as something does; nothing once closed."""
        with self._lock:
            while not self._queue and not self.closed:
                self._filled.wait()
            entries = [self._queue.popleft() for _ in range(min(len(self._queue), self.batch))]
            self._space.notify_all()
        return entries

    def _write(self, entries: Sequence[Entry]) -> None:
        with self.gate:
            try:
                answers = self.books.write(entries)
            except Exception as error:  # noqa: BLE001 - the thread must go on; every future is told
                answers = [error] * len(entries)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed:
            log.error(
                "%d of %d entries were not written to the ledger: %s", len(failed), len(entries), failed[0]
            )
        for entry, answer in zip(entries, answers, strict=True):
            _resolve(entry, answer)

    # ------------------------------------------------------------ fork

    def before_fork(self) -> None:
        """Hold everything still, so that the child finds it whole."""
        self.gate.acquire()
        self._lock.acquire()
        self.books.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        self.books.after_fork(child=False)
        self._lock.release()
        self.gate.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the writing thread stayed in the parent."""
        self.books.after_fork(child=True)
        self.gate = threading.RLock()
        self._begin()


def _resolve(entry: Entry, answer: Any) -> None:
    if not entry.future.set_running_or_notify_cancel():
        return  # whoever waited has left; the row is written all the same
    if isinstance(answer, BaseException):
        entry.future.set_exception(_told(entry, answer))
    else:
        entry.future.set_result(answer)


def _told(entry: Entry, error: BaseException) -> StorageError:
    """An error of its own per future, so that raising one does not change another."""
    told = StorageError(f"the ledger could not {entry.label}: {error}")
    told.__cause__ = error
    return told


_open: weakref.WeakSet[Writer] = weakref.WeakSet()
_forking: list[Writer] = []


def _before_fork() -> None:
    _forking[:] = sorted(_open, key=id)
    for writer in _forking:
        writer.before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
