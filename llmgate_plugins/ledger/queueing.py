"""What waits for the ledger's writer: a bounded queue, and the lock that all around it share."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.entries import Entry

__all__ = ["Queue"]


class Queue:
    """Entries in the order of their `put`, taken by one thread.

    Args:
        limit: Entries that may wait.
        patience: Seconds for which a full queue blocks.
        batch: The most that are taken at once.
        linger: Seconds for which more are waited for, where there are some.

    Attributes:
        lock: Held while anything here changes.
        closed: Whether nothing more is taken in.
    """

    def __init__(self, *, limit: int, patience: float, batch: int, linger: float) -> None:
        self.limit = limit
        self.patience = patience
        self.batch = batch
        self.linger = linger
        self.closed = False
        # Reentrant, since a garbage collection in here may close this very queue.
        self.lock = threading.RLock()
        self._entries: deque[Entry] = deque()
        self._filled = threading.Condition(self.lock)
        self._space = threading.Condition(self.lock)
        self._idle = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Hand an entry over. Raises `StorageError` if closed, or full for too long."""
        with self.lock:
            if len(self._entries) >= self.limit:
                self._wait_for_space()
            if self.closed:
                raise StorageError("the ledger is closed; nothing more can be written to it")
            self._entries.append(entry)
            if self._idle or entry.kind == "flush":  # to notify nobody costs as much as all the rest
                self._filled.notify()

    def take(self, until_due: Callable[[], float | None]) -> Sequence[Entry] | None:
        """What waits, up to a batch, as soon as something does; nothing when something else is due; None
        once closed.

        Args:
            until_due: Seconds until something else is due; None for never.
        """
        with self.lock:
            while not self._entries and not self.closed:
                self._idle = True
                told = self._filled.wait(until_due())
                self._idle = False
                if not told and not self._entries:
                    return ()
            if not self._entries:
                return None
            if self.linger and len(self._entries) < self.batch and not self.closed:
                self._filled.wait(self.linger)
            entries = [self._entries.popleft() for _ in range(min(len(self._entries), self.batch))]
            self._space.notify_all()
        return entries

    def take_late(self) -> list[Entry]:
        """All that waits, in another thread than the one that takes; flushes go on waiting."""
        with self.lock:
            late = list(self._entries)
            self._entries.clear()
            self._entries.extend(one for one in late if one.kind == "flush")
            self._space.notify_all()
        return [one for one in late if one.kind != "flush"]

    def wake(self) -> None:
        """Have what is due looked at anew."""
        with self.lock:
            self._filled.notify()

    def close(self) -> None:
        """Take in nothing more. What waits can still be taken."""
        with self.lock:
            self.closed = True
            self._filled.notify_all()
            self._space.notify_all()

    def _wait_for_space(self) -> None:
        until = time.monotonic() + self.patience
        while len(self._entries) >= self.limit and not self.closed:
            left = until - time.monotonic()
            if left <= 0:
                raise StorageError(
                    f"the ledger's queue of {self.limit} rows has been full for {self.patience:g} s: "
                    "the disk is too slow or another program locks the database"
                )
            self._space.wait(left)
