"""From the outbox to the books, when they are back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.tables import Away

__all__ = ["Drain"]

RETRY: Final = (0.1, 5.0)
"""Seconds between two tries with a database that is away: from, doubled each time, up to."""
CHUNK: Final = 1_000
"""Rows of the outbox that are written in one transaction."""


class Drain:
    """Brings rows of an outbox into the books, and those that dead processes have left, piece by piece.

    Args:
        outbox: This process's.
        write: Writes steps to the books; raises `Away` if they take none.

    Attributes:
        look_around: Whether to look for outboxes of dead processes.
        fails: Whether the books took nothing when last asked.
        refuses: Whether they refused a row when last asked, for what it is.
        moved_at: When they last took some, monotonic seconds.
    """

    def __init__(self, outbox: Outbox, write: Callable[[Sequence[Step]], list[Any]]) -> None:
        self.outbox = outbox
        self._write = write
        self._begin()

    def _begin(self) -> None:
        self._left_behind: Outbox | None = None
        self._pause, self._retry_at = RETRY[0], 0.0
        self.look_around = True
        self.fails = self.refuses = False
        self.moved_at = 0.0

    @property
    def due(self) -> float | None:
        """When there is something to do, monotonic seconds; None for nothing."""
        return self._retry_at if self.outbox.waiting or self.look_around else None

    def later(self) -> None:
        """The books are away: try again after a while."""
        if not self.fails:
            self.fails = True  # from now on rows say all that they can
            self.outbox.make_whole()
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, RETRY[1])

    def hurry(self) -> None:
        """Somebody waits: try now."""
        self._retry_at = 0.0

    def piece(self) -> None:
        """Bring in a piece, if it is time. Outboxes of the dead are looked for if `look_around`."""
        if time.monotonic() < self._retry_at:
            return
        if self.outbox.waiting:
            self._empty(self.outbox)
            if self.fails:
                return
        if self.look_around:
            if self._left_behind is None:
                self._left_behind = self.outbox.adopt()
            if self._left_behind is None:
                self.look_around = False
            elif not self._empty(self._left_behind) and not self._left_behind.waiting:
                self._left_behind.close()
                self._left_behind = None

    def close(self) -> None:
        """Bring in all that the books take now; what they do not stays for the next process."""
        while self._empty(self.outbox):
            pass
        self.outbox.make_whole()
        self.outbox.close()
        if self._left_behind is not None:
            self._left_behind.close()

    def forget(self) -> None:
        """After a fork, in the child: all of it is the parent's."""
        for one in (self.outbox, self._left_behind):
            if one is not None:
                one.forget()
        self._begin()

    def _empty(self, outbox: Outbox) -> bool:
        """Write the oldest of these rows; whether more may follow now."""
        steps, mark = outbox.next(CHUNK)
        try:
            answers = self._write(steps) if steps else []
        except Away:
            self.later()
            return False
        refused = False
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(answer, Away):
                self.later()
                return False
            if isinstance(answer, Exception):
                outbox.reject(step, answer)
                refused = True
        self._pause, self.fails, self.refuses = RETRY[0], False, refused
        outbox.done(mark, len(steps))
        self.moved_at = time.monotonic()
        return outbox.waiting
