"""A second request after the usual time cuts the tail, at few more requests, and both are booked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest

from llmgate_plugins import Attempt, Chunk, Deployment, Gateway, Price, Request, Response, Usage
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import Patience
from llmgate_plugins.testing.simulation import LoopClock, LoopSleeper, VirtualLoop, run_virtually

CALLS = 3_000
PRICE = Price(input=1_000_000, output=1_000_000)


class HeavyTail:
    """Half a second, usually; but some answers keep one waiting: log-normal, or Pareto."""

    def __init__(self, shape: str, seed: int) -> None:
        self.shape = shape
        self.dice = random.Random(seed)
        self.sent = self.opened = self.closed = 0

    def wait(self) -> float:
        self.sent += 1
        if self.shape == "lognormal":
            return 0.5 * self.dice.lognormvariate(0.0, 1.4)
        return 0.25 * self.dice.paretovariate(1.3)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        await asyncio.sleep(self.wait())
        return Response.of("fine", usage=Usage(input=3, output=1))

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        self.opened += 1
        try:
            await asyncio.sleep(self.wait())
            yield Chunk(text="fine")
            yield Chunk(finish_reason="stop", usage=Usage(input=3, output=1))
        finally:
            self.closed += 1

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()

    def send(self, attempt: Attempt, request: Request) -> Response:
        raise NotImplementedError

    open: Any = send


@dataclass
class Measured:
    waits: list[float]
    transport: HeavyTail
    attempts: list[dict[str, Any]]
    calls: list[dict[str, Any]]

    def percentile(self, share: float) -> float:
        return sorted(self.waits)[int(share * len(self.waits))]


@lru_cache(maxsize=4)  # a run is looked at for its waits, and for its books
def measure(shape: str, *, hedge: float, stream: bool) -> Measured:
    async def main(loop: VirtualLoop) -> Measured:
        transport, ledger = HeavyTail(shape, seed=7), MemoryLedger()
        gateway = Gateway(
            [Deployment(id=id, alias="fast", provider="p", model="m", price=PRICE) for id in ("a", "b")],
            # So patient that nothing but a hedge ends a wait.
            plugins=[Patience(hedge=hedge, first_token=300.0, shortest=300.0, whole=300.0)],
            transport=transport,
            clock=LoopClock(loop),
            sleeper=LoopSleeper(),
            random=random.Random(1),
            ledger=ledger,
        )
        waits: list[float] = []

        async def ask() -> None:
            began = loop.time()
            if stream:
                async for chunk in gateway.astream("fast", "hello"):
                    if chunk.text:
                        waits.append(loop.time() - began)
            else:
                await gateway.acomplete("fast", "hello")
                waits.append(loop.time() - began)

        async def arrive() -> None:
            dice = random.Random(3)
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLS):
                    group.create_task(ask())
                    await asyncio.sleep(dice.expovariate(2.0))

        await arrive()
        return Measured(waits, transport, ledger.attempts(), ledger.calls())

    return run_virtually(main)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("shape", ["lognormal", "pareto"])
def test_hedging_cuts_the_tail_for_few_more_requests(shape: str, stream: bool) -> None:
    plain = measure(shape, hedge=0.0, stream=stream)
    hedged = measure(shape, hedge=0.05, stream=stream)
    assert len(plain.waits) == len(hedged.waits) == plain.transport.sent == CALLS
    assert hedged.transport.sent <= 1.05 * CALLS
    assert hedged.percentile(0.99) <= 0.6 * plain.percentile(0.99)
    assert hedged.percentile(0.5) <= 1.1 * plain.percentile(0.5)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_both_sides_of_a_hedge_are_booked_and_closed(stream: bool) -> None:
    hedged = measure("pareto", hedge=0.05, stream=stream)
    assert hedged.transport.opened == hedged.transport.closed
    assert len(hedged.attempts) == hedged.transport.sent > CALLS + 50
    by_call: dict[str, list[dict[str, Any]]] = {}
    for row in hedged.attempts:
        by_call.setdefault(row["call_id"], []).append(row)
    two = [rows for rows in by_call.values() if len(rows) == 2]
    assert len(two) == hedged.transport.sent - CALLS
    for rows in two:
        assert sorted(row["status"] for row in rows) == ["cancelled", "success"]
        assert sorted(row["reason"] for row in rows) == ["first", "hedge"]
        assert all(row["cost_nano_usd"] > 0 for row in rows), "the loser is billed by the provider as well"
    assert sum(row["cost_nano_usd"] for row in hedged.attempts) == sum(
        row["cost_nano_usd"] for row in hedged.calls
    )
