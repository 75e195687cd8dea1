"""How long tests bear with a machine that has other things to do: an end, not a wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["PATIENCE", "auntil", "time_that_is_over_when", "until"]

PATIENCE = 30.0
"""Seconds after which what has not happened will not happen any more.

What must not be waited for takes longer, or never ends: so a test can tell one from the other,
however busy the machine is.
"""


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait in this thread for it to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it does not come to be within {seconds:g} s"
        time.sleep(0.005)


async def auntil(true: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait in a task for it to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"it does not come to be within {seconds:g} s"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def time_that_is_over_when(true: Callable[[], Any]) -> AsyncIterator[None]:
    """A caller's time limit, which is reached in the moment in which this becomes true."""

    async def end() -> None:
        await auntil(true)
        limit.reschedule(0)

    async with asyncio.timeout(None) as limit:
        ending = asyncio.create_task(end())
        yield
    await ending
