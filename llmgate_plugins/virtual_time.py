"""An event loop on which time is virtual: nothing waits, and the next timer is always now."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappush
from typing import Any, Final, TypeVar, TypeVarTuple

__all__ = ["Deadlock", "LoopClock", "LoopSleeper", "VirtualLoop", "run_virtually"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TICKS: Final = 1 << 20
"""Ticks in a second. Times of the loop are whole ticks, so that adding them up is exact."""


class Deadlock(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class _Jumps:
    """Takes the place of a selector: instead of waiting, it moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            self._loop.stuck()
        elif timeout > 0:
            self._loop.move(timeout)
        return ()

    def close(self) -> None:
        pass


class _Timer(asyncio.TimerHandle):
    """Of timers for the same moment the one that was set first goes off first.

    asyncio leaves that open: it depends on what else is on its heap.
    """

    __slots__ = ("number",)

    number: int
    _when: float
    _scheduled: bool

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self._when, self.number) < (other._when, other.number)


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop without files, sockets or waiting.

    When nothing is ready, time jumps to the next timer; no timer goes off before its time.
    When no timer is set either, `Deadlock` is raised from `run_until_complete`. The same
    program with the same seed does the same at the same virtual moments.

    Args:
        seed: Of the noise in the timers.
        noise: A timer goes off up to so many seconds late, as on a machine that is busy.
            It is what makes tasks that would wake together wake in another order.
        start: Seconds on the clock at the beginning.
    """

    def __init__(self, seed: int = 0, *, noise: float = 0.0, start: float = 1_000.0) -> None:
        super().__init__()
        self._now = start
        self._ticks_of_noise = noise * TICKS
        self._random = random.Random(seed).random  # noqa: S311 - not for cryptography
        self._selector = _Jumps(self)
        self._is_stuck = False
        self._timers = 0
        self._scheduled: list[asyncio.TimerHandle]

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at a moment, or a little later with noise; never earlier."""
        late = self._ticks_of_noise * self._random() if self._ticks_of_noise else 0.0
        self._timers += 1
        timer = _Timer(math.ceil(when * TICKS + late) / TICKS, callback, args, self, context)
        timer.number = self._timers
        heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def move(self, seconds: float) -> None:
        """Let time pass, by whole ticks."""
        self._now = round((self._now + seconds) * TICKS) / TICKS

    def stuck(self) -> None:
        """Nothing is ready and no timer is set: stop, and have the runner say so."""
        self._is_stuck = True
        self.stop()

    def run_until_complete(self, future: Any) -> Any:
        """As of any loop.

        Raises:
            Deadlock: The future can never be done.
        """
        self._is_stuck = False
        try:
            return super().run_until_complete(future)
        except RuntimeError as error:
            if self._is_stuck:
                raise Deadlock(f"at {self._now:.3f} s no task can go on") from error
            raise

    def _process_events(self, event_list: object) -> None:
        """There are no files to wait for."""

    def _write_to_self(self) -> None:
        """There is no selector to wake up: another thread's callback is seen at the next turn."""


class LoopClock:
    """A `Clock` that reads a loop's time.

    Args:
        loop: Whose time.
        time: Unix time when the loop's clock stands at 0.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, time: float = 1_800_000_000.0) -> None:
        self.monotonic: Callable[[], float] = loop.time
        self._offset = time

    def time(self) -> float:
        """Unix time in seconds; moves with the loop, and by `jump`."""
        return self.monotonic() + self._offset

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; `monotonic` stays."""
        self._offset += seconds


class LoopSleeper:
    """A `Sleeper` for tasks on a virtual loop."""

    def sleep(self, seconds: float) -> None:
        """A thread cannot sleep here.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"sleep({seconds:g}) would stop the virtual loop; use the async faces (acomplete, astream)"
        )

    async def asleep(self, seconds: float) -> None:
        """Let other tasks run for so many virtual seconds."""
        await asyncio.sleep(seconds)


def run_virtually(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, T]],
    *,
    seed: int = 0,
    noise: float = 0.0,
    start: float = 1_000.0,
) -> T:
    """Run a coroutine function on a new virtual loop, which it is given, to its end.

    What is left over on the loop is cancelled before it is closed, as `asyncio.run` does.

    Raises:
        Deadlock: It waits for something that can never happen.
    """
    loop = VirtualLoop(seed, noise=noise, start=start)
    try:
        asyncio.set_event_loop(loop)
        result: T = loop.run_until_complete(main(loop))
        return result
    finally:
        _cancel_all(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=3600))
