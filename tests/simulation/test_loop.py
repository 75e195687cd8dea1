"""A loop whose time is virtual behaves as asyncio's own, in no time."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmgate_plugins import Attempt, Deployment, Gateway, Wait, hookimpl
from llmgate_plugins.errors import DeadlineExceeded, StreamInterrupted
from llmgate_plugins.services import Services
from llmgate_plugins.testing import Hang, ScriptedProvider, Stream
from llmgate_plugins.testing.simulation import (
    Deadlock,
    LoopClock,
    LoopSleeper,
    VirtualLoop,
    run_virtually,
)


def test_a_day_passes_in_no_time() -> None:
    async def main(loop: VirtualLoop) -> float:
        before = loop.time()
        await asyncio.sleep(86_400 * 3)
        return loop.time() - before

    began = time.monotonic()
    assert run_virtually(main) == 86_400 * 3
    assert time.monotonic() - began < 5


def test_timers_go_off_in_order_and_never_early() -> None:
    async def main(loop: VirtualLoop) -> list[tuple[float, float]]:
        gone_off: list[tuple[float, float]] = []

        async def wait(seconds: float) -> None:
            until = loop.time() + seconds
            await asyncio.sleep(seconds)
            gone_off.append((until, loop.time()))

        await asyncio.gather(*(wait(number * 0.1 % 0.7) for number in range(50)))
        return gone_off

    gone_off = run_virtually(main, noise=0.01)
    assert len(gone_off) == 50
    assert all(until <= at <= until + 0.0101 for until, at in gone_off)
    assert [at for _, at in gone_off] == sorted(at for _, at in gone_off)


def test_noise_makes_tasks_wake_in_another_order_and_the_seed_decides_which() -> None:
    async def main(loop: VirtualLoop) -> list[int]:
        woken: list[int] = []

        async def wait(number: int) -> None:
            await asyncio.sleep(1.0)
            woken.append(number)

        await asyncio.gather(*map(wait, range(20)))
        return woken

    assert run_virtually(main) == run_virtually(main, seed=1)
    noisy = run_virtually(main, seed=1, noise=0.01)
    assert noisy == run_virtually(main, seed=1, noise=0.01)
    assert noisy != run_virtually(main, seed=2, noise=0.01)
    assert sorted(noisy) == list(range(20))


def test_a_program_that_can_never_go_on_is_told_so() -> None:
    async def main(loop: VirtualLoop) -> None:
        await asyncio.sleep(5)
        await loop.create_future()

    with pytest.raises(Deadlock, match=r"at 1005\.000 s"):
        run_virtually(main)


def test_what_is_left_over_is_cancelled_and_closed() -> None:
    ended = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    async def main(loop: VirtualLoop) -> asyncio.Task[None]:
        task = loop.create_task(linger())
        await asyncio.sleep(1)
        return task

    assert run_virtually(main).cancelled()
    assert ended == ["task"]


def test_a_task_can_be_given_a_time_limit() -> None:
    async def main(loop: VirtualLoop) -> float:
        before = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.5):
                await asyncio.Event().wait()
        return loop.time() - before

    assert run_virtually(main) == 7.5


def test_a_thread_cannot_sleep_on_it() -> None:
    with pytest.raises(RuntimeError, match="use the async faces"):
        LoopSleeper().sleep(1.0)


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not() -> None:
    async def main(loop: VirtualLoop) -> None:
        clock = LoopClock(loop, time=500.0)
        at, wall = clock.monotonic(), clock.time()
        await LoopSleeper().asleep(2.0)
        clock.jump(-3600.0)
        assert clock.monotonic() - at == 2.0
        assert clock.time() - wall == -3598.0

    run_virtually(main)


@pytest.mark.parametrize("pieces", [("one ",), ("one ", "two ", "three ")], ids=["first", "third"])
def test_a_stream_that_stalls_ends_at_its_deadline_although_no_gap_is_set(pieces: tuple[str, ...]) -> None:
    async def main(loop: VirtualLoop) -> float:
        gateway = Gateway(
            [Deployment(id="a", alias="fast", provider="p", model="m")],
            transport=ScriptedProvider({"a": [Stream(*pieces, Hang(1e9))]}),
            clock=LoopClock(loop),
            sleeper=LoopSleeper(),
            defaults=False,
            deadline=12.0,
        )
        before, got = loop.time(), []
        with pytest.raises(StreamInterrupted, match="the call's time was over") as told:
            [got.append(chunk.text) async for chunk in gateway.astream("fast", "hello")]
        assert "".join(got) == told.value.partial == "".join(pieces)
        return loop.time() - before

    assert run_virtually(main) == 12.0


def test_what_wakes_from_a_wait_after_the_deadline_is_not_sent() -> None:
    class Turns:
        @hookimpl
        def begin_attempt(self, attempt: Attempt, services: Services) -> Wait | None:
            return Wait(2.0) if services.clock.monotonic() < attempt.started + 2.0 else None

    class Oversleeping(LoopSleeper):
        async def asleep(self, seconds: float) -> None:
            await super().asleep(seconds + 0.5)

    async def main(loop: VirtualLoop) -> int:
        provider = ScriptedProvider()
        gateway = Gateway(
            [Deployment(id="a", alias="fast", provider="p", model="m")],
            plugins=[Turns()],
            transport=provider,
            clock=LoopClock(loop),
            sleeper=Oversleeping(),
            defaults=False,
            deadline=2.25,
        )
        with pytest.raises(DeadlineExceeded):
            await gateway.acomplete("fast", "hello")
        return len(provider.sent)

    assert run_virtually(main) == 0
