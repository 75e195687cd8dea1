"""One process of a simulated fleet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from llmgate_plugins.errors import StorageError
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.testing.simulation.fleet.provider import Provider
from llmgate_plugins.testing.simulation.fleet.shared import DEADLINE, Shared
from llmgate_plugins.virtual_time import LoopSleeper

__all__ = ["Node"]


class Node:
    """One process: what it asks of others takes its time, and stops when it has crashed."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.alive = True
        self.tasks: set[asyncio.Task[None]] = set()
        self._dice = random.Random(f"{shared.seed}/{name}")  # noqa: S311 - not for cryptography
        self.gateway = Gateway(
            shared.deployments,
            plugins=[shared.plugin()],
            transport=Provider(shared, lambda: self.alive),
            clock=shared.clock,
            sleeper=LoopSleeper(),
            random=self._dice,
            state=_Distant(self, lambda: shared.state),
            ledger=_Distant(self, lambda: shared.books),
            deadline=DEADLINE,
        )

    async def asks(self, work: Callable[[], Any]) -> Any:
        """Have something done elsewhere, a moment away."""
        await asyncio.sleep(self._dice.uniform(0.0, 0.01))
        self._still_there()
        done = work()
        await asyncio.sleep(self._dice.uniform(0.0, 0.01))
        self._still_there()
        return done

    def _still_there(self) -> None:
        if not self.alive:
            raise StorageError("this process has crashed")

    async def crash(self) -> None:
        """From here nothing of it has any effect."""
        self.alive = False
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Distant:
    """A state or a ledger as one process has it: every answer is pending."""

    durable = True
    counters = None  # each process tells its own alerts

    def attend(self, clock: object) -> None:
        """Housekeeping is done by the fleet."""

    def __init__(self, node: Node, there: Callable[[], Any]) -> None:
        self._node = node
        self._there = there

    def __getattr__(self, name: str) -> Any:
        def ask(*given: Any, **named: Any) -> Coroutine[Any, Any, Any]:
            return self._node.asks(lambda: getattr(self._there(), name)(*given, **named))

        return ask
