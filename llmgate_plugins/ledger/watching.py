"""Looks at how long the ledger's writer takes: what a database holds up for too long goes to the outbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from llmgate_plugins.ledger.entries import Entry
from llmgate_plugins.ledger.queueing import Queue

__all__ = ["Watch"]

SLOW: Final = 1.5
"""Seconds after which rows that the database has not taken go to the outbox, whatever it is doing."""
TICK: Final = 0.25
"""Seconds between two looks at whether something waits for that long."""
FLUSH: Final = 10.0
"""Seconds for which somebody who needs its answer waits for a database that is away."""
DROWSY: Final = 20
"""Looks without any work in sight after which the watch sleeps until there is some."""


class Watch:
    """Knows what the writer has in hand, and since when; its thread runs while the writer works.

    Args:
        queue: What waits behind that.
        keep: Has these entries safe in the outbox.

    Attributes:
        hand: What the writer has in hand.
        awake: Whether its thread looks at that.
    """

    def __init__(self, queue: Queue, keep: Callable[[Sequence[Entry]], None]) -> None:
        self._queue = queue
        self._keep = keep
        self.hand: Sequence[Entry] = ()
        self.awake = False
        self._busy_since: float | None = None  # the writer is at it since then; None: it waits
        self._stuck = False  # what the writer holds is in the outbox: it takes too long
        self._thread: threading.Thread | None = None
        self._watching = threading.Condition(queue.lock)

    def begin(self, entries: Sequence[Entry]) -> None:
        """The writer has these in hand, or does something else that may take long."""
        with self._queue.lock:
            self.hand, self._busy_since = entries, time.monotonic()
            if not self.awake:
                self._wake()

    def end(self) -> None:
        """It is done with them."""
        with self._queue.lock:
            self.hand, self._busy_since, self._stuck = (), None, False

    def busy_for(self, seconds: float) -> bool:
        """Whether the database has not answered for so long."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > seconds

    @property
    def is_late(self) -> bool:
        """Whether the database takes too long."""
        return self.busy_for(SLOW)

    @property
    def is_hopeless(self) -> bool:
        """Whether nobody should wait for it any longer."""
        return self.busy_for(FLUSH)

    def look_again(self) -> None:
        """Something came to the queue: it must not wait for what takes too long already."""
        if self._stuck:
            with self._queue.lock:
                self._watching.notify()

    def close(self) -> None:
        """End the thread, once the writer is done."""
        with self._queue.lock:
            self._watching.notify()

    def _wake(self) -> None:
        self.awake = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="llmgate-ledger-watch", daemon=True)
            self._thread.start()
        else:
            self._watching.notify()

    def _look(self) -> None:
        idle = 0
        while True:
            with self._queue.lock:
                at_work = self._busy_since is not None or len(self._queue) > 0
                if self._queue.closed and not at_work:
                    return
                idle = 0 if at_work else idle + 1
                if idle > DROWSY:
                    self.awake = False
                    self._watching.wait()
                    continue
                self._watching.wait(TICK)
                late = self._late()
            if late:
                self._keep(late)
            del late  # a thread that waits must not keep the last rows alive

    def _late(self) -> Sequence[Entry]:
        """What the writer holds, and all that waits behind it, if it has held it for too long."""
        if not self._stuck and not self.is_late:
            return ()
        self._stuck = True
        return [*self.hand, *self._queue.take_late()]
