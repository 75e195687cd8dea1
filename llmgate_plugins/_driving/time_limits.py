"""Waiting for something in an event loop, but not longer than an attempt may take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, NoReturn

from llmgate_plugins.context import Call
from llmgate_plugins.errors import DeadlineExceeded
from llmgate_plugins.services import Clock
from llmgate_plugins.types import Attempt

__all__ = [
    "GapWatch",
    "answer_within",
    "first_answer_within",
    "next_chunk_within",
    "out_of_time",
    "plugin_within",
    "stream_out_of_time",
    "within",
]

PLUGIN_GRACE: Final = 10.0
"""Seconds that a plugin's answer has beyond the call's time: books are settled when that is over, and
a plugin that itself waits until the deadline must have its say first."""


def first_answer_within(attempt: Attempt, clock: Clock) -> float | None:
    """Seconds that are left for a first token, or a whole answer; None for no limit."""
    patience, deadline = attempt.limits.first_token, attempt.deadline
    if patience is None and deadline is None:
        return None
    until = math.inf if deadline is None else deadline
    if patience is not None:
        until = min(until, attempt.started + patience)
    return max(until - clock.monotonic(), 0.0)


def next_chunk_within(attempt: Attempt, clock: Clock) -> float | None:
    """Seconds that are left for the next chunk of a stream that has begun; None for no limit."""
    gap, deadline = attempt.limits.gap, attempt.deadline
    if deadline is None:
        return gap
    left = max(deadline - clock.monotonic(), 0.0)
    return left if gap is None else min(gap, left)


async def within(
    work: Awaitable[Any], allowed: Callable[[Attempt, Clock], float | None], attempt: Attempt, clock: Clock
) -> Any:
    """The result of `work`, or a `TimeoutError` that says whose fault it was.

    A timer is set only if there is something to wait for: most chunks of a stream are there.

    Args:
        allowed: How many seconds the attempt's limits allow; None for no limit.

    Raises:
        TimeoutError: The deployment took longer than its attempt's limits allow.
        DeadlineExceeded: The call's time was over.
    """
    try:
        rest = _begun(work)
    except StopIteration as done:
        return done.value
    late: list[bool] = []
    try:
        return await _waited(rest, allowed(attempt, clock), late)
    except TimeoutError:
        if late:
            out_of_time(attempt, clock)
        raise


def plugin_within(call: Call, clock: Clock) -> float | None:
    """Seconds that are left for a plugin's answer; None for no limit."""
    remaining = call.remaining(clock.monotonic())
    return None if remaining == math.inf else max(remaining, 0.0) + PLUGIN_GRACE


async def answer_within(work: Awaitable[Any], seconds: float | None) -> Any:
    """A plugin's answer. Raises `TimeoutError` if it takes longer than the call has time."""
    try:
        rest = _begun(work)
    except StopIteration as done:
        return done.value
    late: list[bool] = []
    try:
        return await _waited(rest, seconds, late)
    except TimeoutError:
        if late:
            raise TimeoutError(f"no answer within {seconds:.1f} s") from None
        raise


def _begun(work: Awaitable[Any]) -> _Rest:
    """What is left of it once it has to wait. Raises `StopIteration`, with its result, if it need not."""
    steps = work.__await__()
    return _Rest(steps, steps.send(None))


async def _waited(rest: _Rest, seconds: float | None, late: list[bool]) -> Any:
    """The result; notes in `late` that a `TimeoutError` is this limit's, not the work's own."""
    if seconds is None:
        return await rest
    cut = False
    try:
        async with asyncio.timeout(seconds) as limit:
            try:
                return await rest
            except asyncio.CancelledError:
                cut = True
                raise
    except TimeoutError:
        if cut and limit.expired():
            late.append(True)
        raise


class _Rest:
    """An awaitable that was begun, from where it waits first."""

    __slots__ = ("_steps", "_waiting_for")

    def __init__(self, steps: Any, waiting_for: Any) -> None:
        self._steps = steps
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, waiting_for = self._steps, self._waiting_for
        while True:
            try:
                result = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the work to deal with
                step, argument = steps.throw, error
            else:
                step, argument = steps.send, result
            try:
                waiting_for = step(argument)
            except StopIteration as done:
                return done.value


class GapWatch:
    """Ends the wait for a stream's next chunk when it takes too long, or when the call's time is over.

    One timer for a whole stream, set anew only when it goes off: a chunk costs a look at
    the clock. Plain attributes, because they are set at every chunk.

    Attributes:
        since: When the wait for a chunk began, monotonic seconds; None while nobody waits.
        task: Who waits.
        expired: Whether it has ended a wait, by cancelling the task.
    """

    __slots__ = ("_clock", "_deadline", "_gap", "_loop", "_timer", "expired", "since", "task")

    def __init__(self, gap: float | None, deadline: float | None, clock: Clock) -> None:
        self._gap = math.inf if gap is None else gap
        self._deadline = math.inf if deadline is None else deadline
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self.since: float | None = None
        self.task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.expired = False
        self._set(min(self._gap, self._deadline - clock.monotonic()))

    def _set(self, seconds: float) -> None:
        self._timer = self._loop.call_later(max(seconds, 0.0), self._look) if seconds < math.inf else None

    def _look(self) -> None:
        now, since = self._clock.monotonic(), self.since
        if since is None:  # the reader is busy; it looks at the deadline itself when it comes back
            self._set(self._gap if now >= self._deadline else min(self._gap, self._deadline - now))
            return
        left = min(since + self._gap, self._deadline) - now
        if left <= 0 and self.task is not None:
            self.expired = True
            self._timer = None
            self.task.cancel()
            return
        self._set(left)

    def close(self) -> None:
        """Nothing more will be read."""
        if self._timer is not None:
            self._timer.cancel()

    def claims(self) -> bool:
        """Whether a cancellation was this watch's alone; then it is taken back."""
        return self.expired and self.task is not None and self.task.uncancel() == 0


def out_of_time(attempt: Attempt, clock: Clock) -> NoReturn:
    """Say whose time was over: the call's, or this deployment's."""
    if attempt.deadline is not None and clock.monotonic() >= attempt.deadline:
        raise DeadlineExceeded("the call's time was over while the provider worked") from None
    raise TimeoutError(f"{attempt.deployment.id} kept silent for too long") from None


def stream_out_of_time() -> NoReturn:
    """Say that the call's time was over, of a stream that goes on giving."""
    raise DeadlineExceeded("the call's time was over in the middle of the stream")
