"""What an admission costs where the state is shared: beside the same script run by redis-py itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis.asyncio

from benchmarks.harness import Case, Suite
from llmgate_plugins.services import Reservation
from llmgate_plugins.state import MemoryState, RedisState
from llmgate_plugins.state.redis.scripts import RESERVE
from llmgate_plugins.windows import Calendar

__all__ = ["suites"]

AT_ONCE = 64
KEY = "budget:team:search"


def suites(server: Any) -> list[Suite]:
    state = RedisState(f"{server.url}?namespace=bench&timeout=10s")
    wanted = (
        Reservation(key=KEY, amount=1, limit=10**12, window=Calendar("day"), estimate=1),
        Reservation(key="tokens:team:search", amount=1, limit=10**12, window=60.0, strict=False),
    )
    one = wanted[:1]
    numbers = itertools.count()
    start, end = Calendar("day").bounds(state.now())

    def arguments() -> tuple[Any, ...]:
        limit = f"c day@UTC {start!r} {end!r} 1 1000000000000 1 e - 0"
        return (state.epoch_key, "", "x", state.run_id, f"bare{next(numbers)}", "60.0", KEY, limit)

    def bare(calls: int) -> None:
        for _ in range(calls):
            server.client.evalsha(RESERVE.sha, 1, *arguments())

    empty = server.client.script_load("return 1")

    def nothing(calls: int) -> None:
        for _ in range(calls):
            server.client.evalsha(empty, 1, state.epoch_key)

    def ours(calls: int) -> None:
        for _ in range(calls):
            state.reserve(one, ttl=60)

    def both(calls: int) -> None:
        for _ in range(calls):
            state.settle(state.reserve(wanted, ttl=60).lease, {KEY: 1})  # type: ignore[union-attr]

    threads = ThreadPoolExecutor(AT_ONCE)

    def in_threads(run: Callable[[int], None]) -> Callable[[int], None]:
        def spread(calls: int) -> None:
            list(threads.map(run, [max(1, calls // AT_ONCE)] * AT_ONCE))

        return spread

    client = redis.asyncio.Redis(port=server.port)

    async def bare_in_a_loop(calls: int) -> None:
        await _at_once(calls, lambda: client.evalsha(RESERVE.sha, 1, *arguments()))

    async def ours_in_a_loop(calls: int) -> None:
        await _at_once(calls, lambda: asyncio.wrap_future(state.reserve(one, ttl=60)))  # type: ignore[arg-type]

    ours(1)  # loads the script
    memory = MemoryState()

    def in_memory(calls: int) -> None:
        for _ in range(calls):
            memory.settle(memory.reserve(one, ttl=60).lease, {KEY: 0})  # type: ignore[union-attr]

    return [
        Suite(
            name="state in Redis, one caller",
            unit="call",
            judged="wall",
            cases=(
                Case(name="the same script by redis-py", run=bare),
                Case(name="reserve one limit", run=ours),
                Case(name="reserve two limits, settle", run=both),
                Case(name="an empty script by redis-py", run=nothing),
            ),
            targets={"reserve one limit": ("the same script by redis-py", 1.3)},
        ),
        Suite(
            name=f"state in Redis, {AT_ONCE} threads",
            unit="call",
            judged="wall",
            cases=(
                Case(name="the same script by redis-py", run=in_threads(bare)),
                Case(name="reserve one limit", run=in_threads(ours)),
            ),
            targets={"reserve one limit": ("the same script by redis-py", 1.3)},
        ),
        Suite(
            name=f"state in Redis, {AT_ONCE} tasks",
            unit="call",
            judged="wall",
            cases=(
                Case(name="the same script by redis-py", run=bare_in_a_loop),
                Case(name="reserve one limit", run=ours_in_a_loop),
            ),
            targets={"reserve one limit": ("the same script by redis-py", 1.0)},
        ),
        Suite(
            name="state in memory",
            unit="call",
            cases=(Case(name="reserve and settle one limit", run=in_memory),),
            limits_us={"reserve and settle one limit": 4},
        ),
    ]


async def _at_once(calls: int, ask: Callable[[], Awaitable[Any]]) -> None:
    async def one() -> None:
        for _ in range(max(1, calls // AT_ONCE)):
            await ask()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
