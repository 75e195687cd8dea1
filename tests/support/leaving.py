"""Callers who leave at a moment that a plugin or a provider names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgate_plugins import Failure, hookimpl

__all__ = ["Judging", "cancelled_when"]


async def cancelled_when(reached: asyncio.Event, work: Any) -> None:
    """Cancel this work as soon as that is reached."""
    task = asyncio.create_task(work)
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Judging:
    """Takes its time over what a failure means."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    @hookimpl
    async def classify_error(self) -> Failure | None:
        if not self.reached.is_set():
            self.reached.set()
            await asyncio.sleep(60)
        return None
