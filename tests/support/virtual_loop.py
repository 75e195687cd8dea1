"""An asyncio loop whose time is virtual: where it would wait for its next timer, it jumps there."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from llmgate_plugins.testing import VirtualClock

__all__ = ["LoopSleeper", "run_virtually"]

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """Lets virtual time pass instead of blocking."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits for something that will never happen")
            self._clock.advance(max(timeout, 0.0))
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Jumping(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.monotonic()


class LoopSleeper:
    """A `Sleeper` for a gateway whose calls run in a virtual loop."""

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a call in an event loop blocked it for {seconds} s")

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtually(clock: VirtualClock, main: Coroutine[Any, Any, T]) -> T:
    """Run this to its end on the clock's time."""
    with asyncio.Runner(loop_factory=lambda: _VirtualLoop(clock)) as runner:
        return runner.run(main)
