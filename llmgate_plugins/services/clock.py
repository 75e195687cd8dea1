"""Time: what the clocks say, and how it is let pass."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "Sleeper", "SystemClock", "SystemSleeper"]


class Clock(Protocol):
    """Two clocks: one that never goes back, one that people read."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def time(self) -> float:
        """Unix time in seconds."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


class Sleeper(Protocol):
    """How a driver lets time pass."""

    def sleep(self, seconds: float) -> None:
        """Block this thread."""

    async def asleep(self, seconds: float) -> None:
        """Let other tasks run."""


class SystemSleeper:
    """Real sleep."""

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let other tasks run."""
        import asyncio  # not needed to import the package

        await asyncio.sleep(seconds)
