"""One thread that ends reads which have lasted too long, for all synchronous calls of the process."""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Final, Protocol

__all__ = ["ALARM", "Alarm", "Watched"]

_KEPT: Final = 64
"""So many entries of reads that are over may lie about before they are swept out."""


class Watched(Protocol):
    """What an alarm is set for."""

    def due(self, now: float) -> float:
        """When to go off (monotonic seconds). It may move: later at any time, earlier by setting anew."""

    def go_off(self, now: float) -> None:
        """Time is over. Called in the alarm's thread while `clear` waits, so it must be quick."""


class Alarm:
    """Looks after any number of reads. Thread-safe.

    Setting one costs about a microsecond and wakes the thread only if it has to go off
    before all others. A time that has moved is seen when the old one comes, so that a
    chunk costs nothing here. The thread is begun with the first alarm, and is a daemon.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._times: list[tuple[float, int, Watched]] = []
        self._set: dict[Watched, int] = {}
        self._numbers = count()
        self._next = float("inf")
        self._thread: threading.Thread | None = None

    def set(self, watched: Watched) -> None:
        """Let it go off when it is due; setting it again replaces what was set."""
        due = watched.due(self._clock())
        if due == float("inf"):
            return
        with self._changed:
            number = self._set[watched] = next(self._numbers)
            heapq.heappush(self._times, (due, number, watched))
            if len(self._times) > _KEPT + 4 * len(self._set):
                self._sweep()
            if due < self._next:
                self._next = due
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llmgate-alarm", daemon=True)
                self._thread.start()

    def clear(self, watched: Watched) -> None:
        """It is over: from now on it does not go off."""
        with self._changed:
            self._set.pop(watched, None)

    def _sweep(self) -> None:
        self._times = [entry for entry in self._times if self._set.get(entry[2]) == entry[1]]
        heapq.heapify(self._times)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = self._clock()
                while self._times and self._times[0][0] <= now:
                    self._look(heapq.heappop(self._times), now)
                self._next = self._times[0][0] if self._times else float("inf")
                self._changed.wait(None if not self._times else max(self._next - now, 0.0))

    def _look(self, entry: tuple[float, int, Watched], now: float) -> None:
        _, number, watched = entry
        if self._set.get(watched) != number:
            return
        due = watched.due(now)
        if due <= now:
            del self._set[watched]
            watched.go_off(now)
        else:
            heapq.heappush(self._times, (due, number, watched))


ALARM: Final = Alarm()
"""The process's own."""


def _after_fork() -> None:
    ALARM.__init__()  # type: ignore[misc]  # threads do not survive a fork, nor may a held lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
