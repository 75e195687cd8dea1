"""One connection that all callers share: what is asked at the same time goes out in one write."""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from asyncio import events
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar, cast

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as TookTooLong

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import MaybePending
from llmgate_plugins.state.redis.ask import Ask, Load
from llmgate_plugins.state.redis.dialing import Dialer
from llmgate_plugins.state.redis.kept import Kept
from llmgate_plugins.state.redis.outage import Outage
from llmgate_plugins.state.redis.refused import elsewhere, explained

__all__ = ["Line"]

T = TypeVar("T")

log = logging.getLogger("llmgate.state")

MOST_AT_ONCE: Final = 256
"""Commands in one write: their answers fit into the buffers of a socket."""
TICK: Final = 1.0
"""Seconds between two looks at what has to be done in the background."""


class Line:
    """A connection, made when it is needed, and a thread that serves whoever must not wait.

    A caller without an event loop sends and reads by itself if nobody else does, and takes
    along what others have asked meanwhile: no switch of threads. In an event loop the
    answer is a future; the thread sends. So both go at the speed of the network, and many at
    once share one round trip.

    Thread-safe, loop-safe. A child of a fork begins with a connection of its own.

    Args:
        dialer: Makes connections.
        shown: Names the server in errors.
        greet: Given a connection, learns and tells what each connection must.
        tick: Called by the thread about once a second, connected or not.
        forked: Called in the child of a fork.
    """

    def __init__(
        self,
        dialer: Dialer,
        shown: str,
        *,
        greet: Callable[[Kept], None],
        tick: Callable[[], None],
        forked: Callable[[], None],
    ) -> None:
        self._dialer = dialer
        self._shown = shown
        self._greet = greet
        self._tick = tick
        self._forked = forked
        self._closed = False
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self.outage = Outage(self._shown)
        self._kept = Kept(self._dialer, self._greet)
        self._asked: queue.SimpleQueue[Ask[Any] | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, ask: Ask[T]) -> MaybePending[T]:
        """Ask; the answer, or in an event loop one that is on its way."""
        if self.outage.over():
            ask.give_up(self.outage.error())
        elif events._get_running_loop() is not None:
            return self._hand_over(ask)
        elif self._turn.acquire(blocking=False):
            try:
                self._carry([ask])
            finally:
                self._turn.release()
        else:
            return self._hand_over(ask).result()
        return _answer(ask)

    def send(self, ask: Ask[T]) -> Future[T]:
        """Ask from the background: always a future."""
        return self._hand_over(ask)

    def close(self) -> None:
        """End the thread and let go of the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        thread = self._thread
        if thread is not None:
            self._asked.put(None)
            if thread is not threading.current_thread():
                thread.join()
        with self._turn:
            self._fail_waiting(StorageError(f"the state at {self._shown} is closed"))
            self._kept.hang_up()
            self._dialer.close()

    def _hand_over(self, ask: Ask[T]) -> Future[T]:
        future = ask.future = Future()
        if self._closed:
            ask.give_up(StorageError(f"the state at {self._shown} is closed"))
            return future
        self._asked.put(ask)
        if self._thread is None:
            self.start()
        if self._closed:  # meanwhile
            self._fail_waiting(StorageError(f"the state at {self._shown} is closed"))
        return future

    # ------------------------------------------------------------ whoever has the turn

    def _carry(self, asks: list[Ask[Any]]) -> None:
        """Ask these and what else waits, until each has its answer."""
        self._take_waiting(asks)
        if self._closed:
            for ask in asks:
                ask.give_up(StorageError(f"the state at {self._shown} is closed"))
            return
        while asks:
            asks = self._round(asks)

    def _take_waiting(self, asks: list[Ask[Any]]) -> None:
        try:
            while len(asks) < MOST_AT_ONCE:
                ask = self._asked.get_nowait()
                if ask is None:
                    self._asked.put(None)  # for the thread
                    return
                asks.append(ask)
        except queue.Empty:
            pass

    def _round(self, asks: list[Ask[Any]]) -> list[Ask[Any]]:
        """One write, one reading; what has to be asked after it."""
        fresh = not self._kept.is_open
        try:
            connection = self._kept.connected()
        except (RedisError, OSError, StorageError) as error:
            return self._down(asks, error)
        after: list[Ask[Any]] = []
        told = 0
        moved: ResponseError | None = None
        try:
            written = b"".join([ask.command() for ask in asks])
            for ask in asks:
                ask.sent = True
            connection.send_packed_command([written], check_health=False)
            for ask in asks:
                try:
                    reply: Any = connection.read_response()
                except (Disconnected, TookTooLong):
                    raise
                except ResponseError as error:
                    reply = error
                told += 1
                if isinstance(reply, ResponseError):
                    after += self._refused(ask, reply)
                    moved = reply if elsewhere(reply) else moved
                else:
                    after += ask.take(reply)
        except (Disconnected, OSError) as error:
            self._kept.hang_up()
            unanswered = [*asks[told:], *after]
            # A connection that lay idle may have been closed by the other end: try a new one.
            if fresh or isinstance(error, TookTooLong):
                return self._down(unanswered, error)
            return self._once_more(unanswered, error)
        except TookTooLong as error:
            self._kept.hang_up()
            return self._down([*asks[told:], *after], error)
        except BaseException as error:  # Ctrl-C in a caller that reads: the answers would be out of step
            self._kept.hang_up()
            self._down([*asks[told:], *after], error)
            raise
        if moved is not None:
            self._kept.hang_up()
            return self._down(after, moved)
        self.outage.ended()
        return after

    def _once_more(self, asks: list[Ask[Any]], error: Exception) -> list[Ask[Any]]:
        again: list[Ask[Any]] = []
        for ask in asks:
            if ask.repeats and not ask.repeated:
                ask.repeated = True
                again.append(ask)
            else:
                ask.give_up(explained(error, self._shown))
        return again

    def _down(self, asks: list[Ask[Any]], error: BaseException) -> list[Ask[Any]]:
        """The server cannot be asked now; nor can what waits."""
        self.outage.failed(error)
        told = explained(error, self._shown)
        for ask in asks:
            ask.give_up(told)
        self._fail_waiting(told)
        if self.outage.over():
            self.start()  # which looks when it comes back
        return []

    def _fail_waiting(self, error: StorageError) -> None:
        waiting: list[Ask[Any]] = []
        self._take_waiting(waiting)
        for ask in waiting:
            ask.give_up(error)

    def _refused(self, ask: Ask[Any], error: ResponseError) -> list[Ask[Any]]:
        """The server answered with an error."""
        if isinstance(error, NoScriptError) and ask.script is not None and not ask.loaded:
            ask.loaded = True
            return [Load(ask.script), ask]
        ask.sent = ask.repeated  # of what was sent before, nobody knows
        ask.give_up(explained(error, self._shown))
        return []

    # ------------------------------------------------------------ the thread

    def start(self) -> None:
        """Start the thread if it does not run."""
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=_serve, args=(weakref.ref(self), self._asked), name="llmgate-state", daemon=True
                )
                self._thread.start()

    def serve(self, ask: Ask[Any] | None) -> None:
        """What the thread does: with something to ask, or when a second is over."""
        with self._turn:
            if ask is not None and self.outage.over():
                ask.give_up(self.outage.error())
                self._fail_waiting(self.outage.error())
            elif ask is not None:
                self._carry([ask])
            elif self.outage.failing():
                try:
                    self._kept.connected()
                except (RedisError, OSError, StorageError) as error:
                    self.outage.failed(error)
                else:
                    self.outage.ended()
        if ask is None:
            self._tick()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    # ------------------------------------------------------------ fork

    def after_fork_in_child(self) -> None:
        """Begin anew: connection and thread stayed in the parent."""
        self._begin()
        self._forked()


def _serve(line: weakref.ref[Line], asked: queue.SimpleQueue[Ask[Any] | None]) -> None:
    # Only a weak reference is held while waiting, so that a state nobody has any more can go.
    while True:
        try:
            ask = asked.get(timeout=TICK)
        except queue.Empty:
            ask = None
        else:
            if ask is None:
                return
        here = line()
        if here is None or here.closed:
            return
        try:
            here.serve(ask)
        except Exception:
            log.exception("the state's background thread met an error")
        del here, ask


def _answer(ask: Ask[T]) -> T:
    """What an ask came to, or the one that took its place."""
    while ask.instead is not None:
        ask = ask.instead
    if ask.error is not None:
        raise ask.error
    return cast("T", ask.value)


_open: weakref.WeakSet[Line] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for line in list(_open):
        line.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
