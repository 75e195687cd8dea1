"""Waits until rows that are on their way are in the books, for those who are about to read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger import watching
from llmgate_plugins.ledger.draining import Drain
from llmgate_plugins.ledger.entries import Entry
from llmgate_plugins.ledger.outbox import still_waits
from llmgate_plugins.ledger.watching import TICK, Watch
from llmgate_plugins.promises import Promise, tell

__all__ = ["Flushing"]

LOOK: Final = 0.01
"""Seconds between two looks at what other processes have in their outboxes."""


class Flushing:
    """Flushes: entries that stand in the queue behind all that was handed over before.

    Args:
        drain: Brings rows from the outbox to the books.
        watch: Knows how long the writer takes.
        put: Puts an entry into the writer's queue.
    """

    def __init__(self, drain: Drain, watch: Watch, put: Callable[[Entry], Promise[None]]) -> None:
        self._drain = drain
        self._outbox = drain.outbox
        self._watch = watch
        self._put = put
        self._waiting: list[Entry] = []

    # ------------------------------------------------------------ whoever reads

    def flush(self) -> bool:
        """Wait until all that was handed over is in the books or has failed, as long as there is hope;
        whether it is. Raises `StorageError` if nothing more can be handed over."""
        pending = self._put(Entry("flush"))
        while True:
            try:
                return pending.exception(TICK) is None  # that the books are away shows in what waits
            except TimeoutError:
                if self._watch.is_hopeless:
                    return False

    def gather(self, patience: float, flush: Callable[[], None]) -> None:
        """Return when all that any process of this machine had in an outbox is in the books.

        Args:
            flush: What brings in what this one has, and the dead.

        Raises:
            StorageError: It was not within so many seconds.
        """
        until = time.monotonic() + patience
        waiting = self._outbox.waiting_of_all()
        while waiting:
            self._drain.look_around = True  # for a process that has died meanwhile, perhaps
            flush()
            now = self._outbox.waiting_of_all()
            waiting = dict(chain.from_iterable(still_waits(*one, now).items() for one in waiting.items()))
            if waiting and time.monotonic() > until:
                raise StorageError(f"rows wait for the ledger's database in {self._outbox.directory}")
            if waiting:
                time.sleep(LOOK)

    # ------------------------------------------------------------ the writer's thread

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def take(self, flushes: Sequence[Entry]) -> None:
        """These have come: what was handed over before is in the outbox or the books."""
        self._drain.hurry()
        for flush in flushes:
            flush.mark = self._outbox.taken
        self._waiting += flushes

    def answer(self, *, give_up: bool = False) -> None:
        """Tell those for whom all is in the books, and all if these have taken nothing for too long."""
        if not self._waiting:
            return
        given, now = self._outbox.given, time.monotonic()
        flushes, self._waiting = self._waiting, []
        for flush in flushes:
            if flush.mark <= given and not self._drain.look_around:
                tell((flush.told(None),))
            elif give_up or now - max(flush.since, self._drain.moved_at) > watching.FLUSH:
                tell((flush.told(StorageError("its database is away")),))
            else:
                self._waiting.append(flush)
