"""The providers of a simulated fleet, as one of its processes reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.testing.simulation.fleet.shared import LONGEST, Shared
from llmgate_plugins.types import Attempt, Chunk, Request, Response, Usage

__all__ = ["Provider"]


class Provider:
    """Bills when it is asked, answers after a while, and sometimes fails.

    Args:
        is_asked: Whether the process that would ask it is alive.
    """

    def __init__(self, shared: Shared, is_asked: Callable[[], bool]) -> None:
        self._shared = shared
        self._is_asked = is_asked

    def _take(self, attempt: Attempt) -> tuple[float, Usage]:
        shared, dice, key = self._shared, self._shared.dice, (attempt.call_id, attempt.number)
        if not self._is_asked():
            raise ProviderError("nobody is there to ask")
        fails = dice.random() < 0.15
        usage = Usage(input=5, output=0 if fails else dice.randint(1, LONGEST))
        shared.journal.check(key not in shared.bills, "I1", lambda: f"attempt {key} was sent twice")
        shared.journal.check(
            key in shared.books.opened, "I1", lambda: f"attempt {key} was sent without a row"
        )
        shared.bills.add(key)
        shared.journal.note("sent", *key, attempt.deployment.id)
        if fails:
            raise ProviderError("not now", status=503)
        return dice.uniform(0.1, 6.0), usage

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Nobody calls outside of the loop."""
        raise NotImplementedError

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """Nobody calls outside of the loop."""
        raise NotImplementedError

    async def asend(self, attempt: Attempt, request: Request) -> Response:  # noqa: ARG002 - the interface
        """A whole answer, after its time."""
        seconds, usage = self._take(attempt)
        await asyncio.sleep(seconds)
        return Response.of("word", usage=usage)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:  # noqa: ARG002
        """The same in pieces."""
        seconds, usage = self._take(attempt)
        for _ in range(3):
            await asyncio.sleep(seconds / 4)
            yield Chunk(text="word ")
        await asyncio.sleep(seconds / 4)
        yield Chunk(text="word", finish_reason="stop", usage=usage)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002 - the interface
        """A meter for one stream."""
        return ChunkMeter()
