"""A provider that is down for a minute gets no storm of retries, and is not knocked over when it is back.

At 40 calls a second, a twenty-fifth of the thousand that a large application may have, so that
the test takes seconds; every bound here is a share of the calls, or a rate.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmgate_plugins import Attempt, Chunk, Deployment, Endpoint, Gateway, Request, Response, Secret, Usage
from llmgate_plugins.errors import AllDeploymentsUnavailable
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import default_plugins
from llmgate_plugins.plugins.health import Health
from llmgate_plugins.testing import Fault
from llmgate_plugins.testing.simulation import LoopClock, LoopSleeper, VirtualLoop, run_virtually
from llmgate_plugins.testing.steps import error_of

RATE = 40
DOWN = (20.0, 80.0)
END = 130.0
LATENCY = 0.4
FLOOR, WINDOW = 0.5, 60.0
"""The retry budget's, in attempts per second and seconds."""


class Provider:
    """Down for a minute; and when it is up, a rate half above the usual is too much for it."""

    def __init__(self, loop: VirtualLoop, kind: str) -> None:
        self.loop = loop
        self.began = loop.time()
        self.kind = kind
        self.sent: Counter[int] = Counter()
        self.refused = 0

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        now = self.loop.time() - self.began
        self.sent[int(now)] += 1
        if DOWN[0] <= now < DOWN[1]:
            raise error_of(Fault(self.kind))  # type: ignore[arg-type]
        if self.sent[int(now)] > 1.5 * RATE:
            self.refused += 1
            raise error_of(Fault("overloaded"))
        await asyncio.sleep(LATENCY)
        return Response.of("fine", usage=Usage(input=3, output=1))

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        raise NotImplementedError

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()

    send: Any = aopen
    open: Any = aopen


class Seen:
    """What the callers saw, by the second in which they called."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.calls: Counter[int] = Counter()
        self.fine: Counter[int] = Counter()
        self.waits: dict[int, list[float]] = {}
        self.unavailable: list[AllDeploymentsUnavailable] = []

    def share(self, second: int) -> float:
        return self.fine[second] / self.calls[second]


def storm(kind: str, deployments: int) -> Seen:
    async def main(loop: VirtualLoop) -> Seen:
        seen = Seen(Provider(loop, kind))
        plugins = [] if any(isinstance(one, Health) for one in default_plugins()) else [Health()]
        gateway = Gateway(
            [
                Deployment(
                    id=f"d{place}",
                    alias="fast",
                    provider="p",
                    model="m",
                    endpoint=Endpoint(api_key=Secret("sk-one")),
                )
                for place in range(deployments)
            ],
            plugins=plugins,
            transport=seen.provider,
            clock=LoopClock(loop),
            sleeper=LoopSleeper(),
            random=random.Random(1),
            deadline=30.0,
        )
        began = loop.time()

        async def ask() -> None:
            at = loop.time()
            second = int(at - began)
            seen.calls[second] += 1
            try:
                await gateway.acomplete("fast", "hello")
                seen.fine[second] += 1
            except AllDeploymentsUnavailable as error:
                seen.unavailable.append(error)
            except Exception:
                pass
            seen.waits.setdefault(second, []).append(loop.time() - at)

        dice = random.Random(2)
        async with asyncio.TaskGroup() as group:
            while loop.time() - began < END:
                group.create_task(ask())
                await asyncio.sleep(dice.expovariate(RATE))
        return seen

    return run_virtually(main)


@pytest.mark.parametrize("deployments", [1, 3])
@pytest.mark.parametrize("kind", ["connection", "server"])
def test_a_provider_that_is_down_gets_hardly_more_attempts_than_there_are_calls(
    kind: str, deployments: int
) -> None:
    seen = storm(kind, deployments)
    down = range(int(DOWN[0]), int(DOWN[1]))
    calls, sent = (sum(one[second] for second in down) for one in (seen.calls, seen.provider.sent))
    assert calls > 0.9 * RATE * len(down)
    assert sent <= 1.2 * calls + FLOOR * (len(down) + WINDOW)
    # While nothing works callers are told at once, but for the few whose retry has a token.
    late = [sorted(seen.waits[second]) for second in range(int(DOWN[0]) + 5, int(DOWN[1]))]
    assert all(waits[len(waits) // 2] == 0.0 for waits in late)
    back_without_a_second_dip(seen)


def back_without_a_second_dip(seen: Seen) -> None:
    seconds = range(int(DOWN[1]), int(END))
    well = next(second for second in seconds if seen.share(second) >= 0.99)
    assert well <= DOWN[1] + 20
    assert [second for second in seconds if second > well and seen.share(second) < 0.99] == []
    assert seen.provider.refused == 0, "what came back was knocked over again"


def test_where_all_are_known_to_refuse_the_answer_is_there_at_once() -> None:
    seen = storm("authentication", 2)
    down = range(int(DOWN[0]) + 1, int(DOWN[1]))
    told = [error for error in seen.unavailable if error.retry_at is not None]
    assert len(told) > 0.9 * sum(seen.calls[second] for second in down)
    assert sum(seen.provider.sent[second] for second in down) < 10, "a probe now and then, and no more"
    assert max(max(seen.waits[second]) for second in down) == 0.0
