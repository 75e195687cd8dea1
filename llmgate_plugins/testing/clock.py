"""A clock that stands still until it is told to move, and a sleep that moves it."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["VirtualClock", "VirtualSleeper"]


class VirtualClock:
    """A `Clock` for tests. Thread-safe.

    Args:
        time: Unix time at the beginning.
        monotonic: The monotonic clock at the beginning.
    """

    def __init__(self, *, time: float = 1_800_000_000.0, monotonic: float = 1_000.0) -> None:
        self._time = time
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds since some moment; moves by `advance` alone."""
        return self._monotonic

    def time(self) -> float:
        """Unix time in seconds; moves with `monotonic`, and by `jump`."""
        return self._time

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: `seconds` is negative.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not go back: advance({seconds})")
        with self._lock:
            self._monotonic += seconds
            self._time += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; `monotonic` stays."""
        with self._lock:
            self._time += seconds


class VirtualSleeper:
    """A `Sleeper` that takes no time: it moves a virtual clock instead.

    Attributes:
        slept: Every sleep in order, in seconds.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.slept.append(seconds)
        self._clock.advance(max(seconds, 0.0))

    async def asleep(self, seconds: float) -> None:
        """Move the clock, and let other tasks run once."""
        self.sleep(seconds)
        await asyncio.sleep(0)
