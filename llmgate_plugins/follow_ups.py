"""Further calls that a plugin asks for once a call is over: nobody waits for them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llmgate_plugins.redaction import redact_error

if TYPE_CHECKING:
    from llmgate_plugins.context import Call, Context
    from llmgate_plugins.types import Request

__all__ = ["FollowUp", "FollowUps"]

log = logging.getLogger("llmgate")

HEAD_START: Final = 0.01
"""Seconds between the end of a call and what follows it: its caller goes on first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A call of the gateway's own that follows another. Ask for it with `Call.follow_up`.

    It is a whole call with an id of its own: it is admitted, narrowed, ranked and booked like
    any other, so that nothing is sent where the other call might not have been sent either.
    `record.shadow_of` is the id of the call it follows, by which plugins know that nobody
    waits for it: it counts for no budget of that call's, does not feed health, and leaves no
    trace in caches. What becomes of it its plugin learns by its hooks, as of any call.

    Attributes:
        request: What is asked; None for what the call that it follows asked, as admitted.
        model: An alias or a deployment's id, in place of the request's own.
        context: Who is calling; None for who called there.
        deadline: Seconds that it may take.
        prepare: Told the new call before it is admitted: the place for `call.stash`.
        missed: Told why it did not begin, if it does not: "full" (too many wait already),
            "closing" (the gateway is being closed), "no_transport" (the host sends by itself,
            and the gateway has no transport of its own).
    """

    request: Request | None = None
    model: str | None = None
    context: Context | None = None
    deadline: float = 60.0
    prepare: Callable[[Call], None] | None = None
    missed: Callable[[str], None] | None = None


class FollowUps:
    """Carries out follow-ups on a few threads, beside all calls. One per gateway; thread-safe.

    A thread lives while there is work. What does not fit into the queue is dropped and counted.

    Args:
        workers: The most that are under way at once.
        queue: The most that wait.
        patience: Seconds that those under way get when the gateway is closed.

    Attributes:
        begun: How many have begun.
        missed: Why -> how many have not.
    """

    def __init__(self, *, workers: int = 4, queue: int = 100, patience: float = 2.0) -> None:
        if workers < 1 or queue < 1 or not patience >= 0:
            raise ValueError(
                "workers and queue must be at least 1 and patience at least 0, "
                f"not {workers!r}, {queue!r} and {patience!r}"
            )
        self.workers: Final = workers
        self.queue: Final = queue
        self.patience: Final = patience
        self.begun = 0
        self.missed: Counter[str] = Counter()
        self._waiting: deque[tuple[float, FollowUp, Callable[[], None]]] = deque()
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False
        self._process = os.getpid()

    def add(self, wanted: FollowUp, carry_out: Callable[[], None]) -> None:
        """Have it carried out soon, or say why not. Does not wait."""
        if self._process != os.getpid():  # forked: the threads have stayed behind
            self._idle = threading.Condition()
            self._running, self._process = 0, os.getpid()
            self._waiting.clear()
        with self._idle:
            why = "closing" if self._closed else "full" if len(self._waiting) >= self.queue else None
            if why is None:
                self._waiting.append((time.monotonic() + HEAD_START, wanted, carry_out))
                if self._running < self.workers:
                    self._running += 1
                    threading.Thread(target=self._work, name="llmgate-follow-up", daemon=True).start()
        if why is not None:
            self.miss(wanted, why)

    def miss(self, wanted: FollowUp, why: str) -> None:
        """Count one that does not begin, and tell whoever asked for it."""
        with self._idle:
            self.missed[why] += 1
        if wanted.missed is not None:
            wanted.missed(why)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until nothing is under way or waiting; whether that came within so many seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running and not self._waiting, seconds)

    def close(self) -> None:
        """Drop what waits, and give what is under way its time. Idempotent."""
        with self._idle:
            self._closed = True
            dropped = list(self._waiting)
            self._waiting.clear()
        for _, wanted, _ in dropped:
            self.miss(wanted, "closing")
        if self._process == os.getpid():
            self.wait(self.patience)

    def report(self) -> Mapping[str, int]:
        """How many have begun, are under way, wait, and did not begin, by why."""
        with self._idle:
            missed = {f"missed_{why}": number for why, number in sorted(self.missed.items())}
            return {"begun": self.begun, "running": self._running, "waiting": len(self._waiting), **missed}

    def _work(self) -> None:
        while True:
            with self._idle:
                if not self._waiting:
                    self._running -= 1
                    self._idle.notify_all()
                    return
                at, _, carry_out = self._waiting.popleft()
                self.begun += 1
            pause = at - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            try:
                carry_out()
            except Exception as error:  # nobody waits for it, and its record says what went wrong
                redact_error(error)
                log.debug("a follow-up has failed", exc_info=error)
