"""Answers that come from another thread, for a fraction of what a `Future` costs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

__all__ = ["All", "Kept", "Promise", "tell"]

T = TypeVar("T", covariant=True)

log = logging.getLogger("llmgate.promises")

Said: TypeAlias = tuple[Any, BaseException | None]
"""A value, or the error in its place."""
_InLoop: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]
_Waiter: TypeAlias = Callable[[], object] | _InLoop


class Promise(Generic[T]):
    """An answer that is on its way from another thread; wait with `result`, or with `await`.

    It is like a `concurrent.futures.Future` that cannot be cancelled. What it does without is
    a lock and a condition of its own, which are most of a future's cost: only whoever really
    waits makes a lock, and answers that come together wake an event loop once (see `tell`).
    Thread-safe; the first answer counts.
    """

    __slots__ = ("_said", "_waiters")

    def __init__(self) -> None:
        # Lists, since appending and popping are atomic: no lock is needed, whoever comes first.
        self._said: list[Said] = []
        self._waiters: list[_Waiter] = []

    @classmethod
    def of(cls, value: Any) -> Kept:
        """One that has its answer already."""
        return Kept(value)

    def done(self) -> bool:
        """Whether the answer is there."""
        return bool(self._said)

    def result(self, timeout: float | None = None) -> T:
        """The answer, waited for in this thread.

        Args:
            timeout: Seconds; None to wait for ever.

        Raises:
            TimeoutError: It is not there in time.
            BaseException: What was given in place of an answer.
        """
        self._wait(timeout)
        value, error = self._outcome()
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What was given in place of an answer, if anything. Raises `TimeoutError` as `result` does."""
        self._wait(timeout)
        return self._outcome()[1]

    async def aresult(self, timeout: float | None = None) -> T:  # noqa: ASYNC109 - as of `result`
        """The answer, waited for in an event loop; as `result`."""
        await self._await(timeout)
        return self.result()

    def __await__(self) -> Generator[Any, None, T]:
        return self.aresult().__await__()

    def add_done_callback(self, tell: Callable[[Promise[T]], object]) -> None:
        """Call `tell(self)` when the answer is there: now, or in the thread that brings it."""
        self._add(partial(tell, self))

    def set_result(self, value: Any) -> None:
        """Give the answer."""
        tell(((self, (value, None)),))

    def set_exception(self, error: BaseException) -> None:
        """Give an error in its place."""
        tell(((self, (None, error)),))

    def _wait(self, timeout: float | None) -> None:
        if self._said:
            return
        gate = threading.Lock()
        gate.acquire()
        self._add(gate.release)
        if not gate.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            raise TimeoutError

    async def _await(self, timeout: float | None) -> None:  # noqa: ASYNC109 - as of `result`
        if self._said:
            return
        loop = asyncio.get_running_loop()
        come = loop.create_future()
        self._add((loop, come))
        timer = None if timeout is None else loop.call_later(timeout, _too_late, come)
        try:
            await come
        finally:
            if timer is not None:
                timer.cancel()

    def _outcome(self) -> Said:
        return self._said[0]

    def _add(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        if self._said:  # it came meanwhile, and all others may have been told already
            _wake((self,))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'done' if self.done() else 'on its way'}>"


class Kept(Promise[Any]):
    """One that has its answer from the beginning.

    Attributes:
        value: The answer.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value
        self._said.append((value, None))


class All(Promise[None]):
    """Done when all of these are, with the first error among them.

    Give them in the order in which they will be done: the last is waited for first, and the
    others are then there.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Promise[Any]]) -> None:
        super().__init__()
        self._parts = parts

    def done(self) -> bool:
        """Whether all of them are."""
        return all(one.done() for one in self._parts)

    def add_done_callback(self, tell: Callable[[Any], object]) -> None:
        """Call `tell(self)` when all are done: now, or in the thread that brings the last."""
        rest = iter(self._parts)

        def go_on(_: object = None) -> None:
            for one in rest:
                if not one.done():
                    one.add_done_callback(go_on)
                    return
            tell(self)

        go_on()

    def _wait(self, timeout: float | None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        for one in reversed(self._parts):
            if not one.done():
                one._wait(None if until is None else until - time.monotonic())

    async def _await(self, timeout: float | None) -> None:  # noqa: ASYNC109 - as of `result`
        until = None if timeout is None else time.monotonic() + timeout
        for one in reversed(self._parts):
            if not one.done():
                await one._await(None if until is None else until - time.monotonic())

    def _outcome(self) -> Said:
        return None, next((error for one in self._parts if (error := one._outcome()[1]) is not None), None)


def tell(answers: Iterable[tuple[Promise[Any], Said]]) -> None:
    """Give answers to many promises; one that has an answer keeps it.

    Each event loop in which somebody waits is woken once, when all are there."""
    told = []
    for promise, said in answers:
        promise._said.append(said)
        if promise._waiters:
            told.append(promise)
    if told:
        _wake(told)


def _wake(promises: Iterable[Promise[Any]]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for promise in promises:
        waiters = promise._waiters
        while waiters:
            try:
                waiter = waiters.pop()
            except IndexError:
                break  # another thread was faster
            if isinstance(waiter, tuple):
                loops.setdefault(waiter[0], []).append(waiter[1])
                continue
            try:
                waiter()
            except Exception:
                log.exception("whoever waited for an answer raised")
    for loop, come in loops.items():
        with contextlib.suppress(RuntimeError):  # it was closed: nobody waits there any more
            loop.call_soon_threadsafe(_come, come)


def _come(come: Sequence[asyncio.Future[None]]) -> None:
    for one in come:
        if not one.done():
            one.set_result(None)


def _too_late(come: asyncio.Future[None]) -> None:
    if not come.done():
        come.set_exception(TimeoutError())
