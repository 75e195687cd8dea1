"""Who sends and who waits, when the same call is made several times at once."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

__all__ = ["GO_AHEAD", "Turn", "Turns", "Waiting"]

GO_AHEAD: Final = b""
"""What one who waits is told when the first has failed: now it is your turn."""


@dataclass(slots=True, eq=False)
class Turn:
    """One call under way, which all of its repeats wait for.

    Attributes:
        until: Monotonic time after which nobody waits for it any more: then its caller has
            gone without a word, and a repeat takes its place.
        waiting: The repeats, in order of arrival. Each is told the answer, or to go ahead.
    """

    key: str
    fingerprint: str
    until: float
    waiting: deque[Future[bytes]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A repeat's place in the queue."""

    turn: Turn
    told: Future[bytes]


class Turns:
    """The calls under way in this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def come(self, key: str, fingerprint: str, now: float, until: float) -> Turn | Waiting | None:
        """A turn of one's own, a place in the queue, or None: another request is under way there."""
        with self._lock:
            turn = self._turns.get(key)
            if turn is None or turn.until <= now:
                turn = self._turns[key] = Turn(key, fingerprint, until)
                return turn
            if turn.fingerprint != fingerprint:
                return None
            told: Future[bytes] = Future()
            turn.waiting.append(told)
            return Waiting(turn, told)

    def take_over(self, turn: Turn, until: float) -> None:
        """Go ahead with a turn that was handed on."""
        with self._lock:
            turn.until = until

    def answer(self, turn: Turn, answer: bytes) -> None:
        """Tell everybody who waits, and end the turn."""
        with self._lock:
            self._end(turn)
            while turn.waiting:
                told = turn.waiting.popleft()
                if told.set_running_or_notify_cancel():
                    told.set_result(answer)

    def hand_on(self, turn: Turn) -> None:
        """There is no answer: the next who still waits goes ahead."""
        with self._lock:
            while turn.waiting:
                told = turn.waiting.popleft()
                if told.set_running_or_notify_cancel():
                    told.set_result(GO_AHEAD)
                    return
            self._end(turn)

    def leave(self, place: Waiting) -> None:
        """Wait no longer. A turn that was handed to this place meanwhile goes to the next."""
        place.told.cancel()
        with self._lock:
            if place.told in place.turn.waiting:
                place.turn.waiting.remove(place.told)
                return
            handed = place.told.done() and not place.told.cancelled() and place.told.result() == GO_AHEAD
        if handed:
            self.hand_on(place.turn)

    def _end(self, turn: Turn) -> None:
        if self._turns.get(turn.key) is turn:
            del self._turns[turn.key]
