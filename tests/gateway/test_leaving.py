"""Callers who go away: cancelled tasks, timeouts, Ctrl-C. One row, billed, and the exception goes on."""

from __future__ import annotations

import asyncio

import pytest
from support.gateways import scene
from support.patience import auntil, time_that_is_over_when
from support.plugins import AsyncWitness, Recover, Witness

from llmgate_plugins import ProviderError, Retry
from llmgate_plugins.testing import Hang


def cancelled(s, witness) -> None:
    record = s.gateway.decisions[-1]
    assert record.status == "cancelled"
    assert witness.heard[-1] == "end_call cancelled"
    assert witness.heard.count("end_call cancelled") == 1
    assert s.books_balance()


def test_a_cancelled_task_is_settled_once_and_never_at_zero() -> None:
    async def main() -> None:
        witness = AsyncWitness()
        s = scene({"a": [Hang()]}, witness)
        task = asyncio.create_task(s.gateway.acomplete("fast", "a question of some length"))
        await auntil(lambda: s.sent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled(s, witness)
        assert s.gateway.decisions[-1].cost > 0
        assert "end_attempt cancelled" in witness.heard

    asyncio.run(main())


def test_a_timeout_around_a_call_is_a_cancel() -> None:
    async def main() -> None:
        witness = AsyncWitness()
        s = scene({"a": [Hang()]}, witness)
        with pytest.raises(TimeoutError):
            async with time_that_is_over_when(lambda: s.sent):
                await s.gateway.acomplete("fast", "hi")
        cancelled(s, witness)

    asyncio.run(main())


def test_cancelling_again_and_again_does_not_interrupt_the_settling() -> None:
    class Careful(AsyncWitness):
        from llmgate_plugins import Outcome, hookimpl

        @hookimpl
        async def end_attempt(self, outcome: Outcome) -> None:
            self.heard.append("settling")
            await asyncio.sleep(0.05)
            self.heard.append("settled")

    async def main() -> None:
        witness = Careful()
        s = scene({"a": [Hang()]}, witness)
        task = asyncio.create_task(s.gateway.acomplete("fast", "hi"))
        await auntil(lambda: s.sent)
        task.cancel()
        await auntil(lambda: "settling" in witness.heard)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.005)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert witness.heard[-2:] == ["settled", "end_call cancelled"]
        assert s.books_balance()

    asyncio.run(main())


def test_a_cancel_while_one_is_told_of_the_end_keeps_it_from_nobody() -> None:
    class Slow(AsyncWitness):
        name = "Slow"

        from llmgate_plugins import hookimpl

        @hookimpl
        async def end_attempt(self) -> None:
            self.heard.append("settling")
            await asyncio.sleep(0.05)
            self.heard.append("settled")

        @hookimpl
        async def end_call(self) -> None:
            self.heard.append("closing")
            await asyncio.sleep(0.05)
            self.heard.append("closed")

    async def main(when: str) -> None:
        slow, witness = Slow(), AsyncWitness()
        s = scene({"a": ["fine"]}, slow, witness)
        task = asyncio.create_task(s.gateway.acomplete("fast", "hi"))
        while when not in slow.heard:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [one for one in slow.heard if one in ("settling", "settled", "closed")] == [
            "settling",
            "settled",
            "closed",
        ]
        assert "end_attempt success" in witness.heard
        assert [row["status"] for row in s.ledger.attempts()] == ["success"]
        assert s.books_balance()

    for when in ("settling", "closing"):
        asyncio.run(main(when))


def test_a_cancel_while_waiting_between_attempts_ends_the_call() -> None:
    async def main() -> None:
        witness = AsyncWitness()
        s = scene({"a": [ProviderError("x", status=503)]}, witness, Recover(Retry(5.0)))

        waits = asyncio.Event()

        async def never(seconds: float) -> None:
            waits.set()
            await asyncio.Event().wait()

        s.sleeper.asleep = never  # type: ignore[method-assign]
        task = asyncio.create_task(s.gateway.acomplete("fast", "hi"))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled(s, witness)
        assert [outcome.status for _, outcome in s.gateway.decisions[-1].attempts] == ["error"]

    asyncio.run(main())


def test_ctrl_c_in_a_sync_call_is_settled_and_goes_on() -> None:
    witness = Witness()
    s = scene({"a": [KeyboardInterrupt()]}, witness)
    with pytest.raises(KeyboardInterrupt):
        s.gateway.complete("fast", "hi")
    cancelled(s, witness)
    assert "end_attempt a cancelled" in witness.heard


def test_a_stepping_host_that_goes_away_abandons_the_call() -> None:
    from llmgate_plugins import Request

    witness = Witness()
    s = scene({"a": ["x"]}, witness)
    steps = s.gateway.steps(Request(model="fast"))
    next(steps)
    steps.close()
    assert witness.heard[-2:] == ["end_attempt a abandoned", "end_call abandoned"]
    assert s.books_balance()
