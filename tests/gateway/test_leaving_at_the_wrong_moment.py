"""Who goes away while a stream is closed, a failure is judged or the loop ends: every attempt is settled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.gateways import Scene, scene
from support.leaving import Judging, cancelled_when
from support.patience import auntil
from support.plugins import AsyncWitness

from llmgate_plugins.testing import Fault, Stream

WORDS = ("one ", "two ", "three ", "four ")


def settled(s: Scene, status: str, sent: int = 1) -> None:
    """The call and each of its attempts have ended, once, and cost something."""
    s.gateway.services.ledger.flush()
    rows = s.gateway.services.ledger.attempts()
    assert len(rows) == sent
    assert rows[-1]["status"] == status
    assert "intent" not in {row["status"] for row in rows}
    record = s.gateway.decisions[-1]
    assert record.status == status
    assert [outcome.status for _, outcome in record.attempts][-1] == status
    assert len(record.attempts) == sent
    assert s.books_balance()


@pytest.mark.parametrize("witness", [None, AsyncWitness()], ids=["alone", "with an async plugin"])
def test_a_reader_that_leaves_just_before_the_loop_ends_is_settled(witness: Any) -> None:
    s = scene({"a": [Stream(*WORDS)]}, *([witness] if witness else []))

    async def main() -> None:
        async for _ in s.gateway.astream("fast", "hello"):
            break

    asyncio.run(main())
    settled(s, s.gateway.decisions[-1].status)  # its closing is itself cancelled by the loop, or is not
    assert 0 < s.gateway.decisions[-1].usage.output < 16  # what was delivered, and not the worst case


def test_a_reader_that_is_cancelled_between_chunks_as_the_loop_ends_is_settled() -> None:
    s = scene({"a": [Stream(*WORDS)]})

    async def read() -> None:
        async for _ in s.gateway.astream("fast", "hello"):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(read())
        await auntil(lambda: s.sent)
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    settled(s, s.gateway.decisions[-1].status)
    assert s.gateway.decisions[-1].status in ("abandoned", "cancelled")


async def read_all(s: Scene) -> None:
    async for _ in s.gateway.astream("fast", "hello"):
        pass


class SlowToClose:
    """A stream whose end takes long, as of a client that reads what is left."""

    def __init__(self, chunks: Any, reached: asyncio.Event) -> None:
        self.chunks, self.reached = chunks, reached

    def __aiter__(self) -> SlowToClose:
        return self

    async def __anext__(self) -> Any:
        return await anext(self.chunks)

    async def aclose(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await asyncio.sleep(60)


@pytest.mark.parametrize("content", [WORDS, ()], ids=["after content", "before content"])
async def test_who_is_cancelled_while_a_broken_stream_is_closed_is_settled(content: tuple[str, ...]) -> None:
    s = scene({"a": [Stream(*content, then=Fault("server"))], "b": ["never asked"]})
    reached, aopen = asyncio.Event(), s.provider.aopen
    s.provider.aopen = lambda *asked: SlowToClose(aopen(*asked), reached)  # type: ignore[method-assign]
    await cancelled_when(reached, read_all(s))
    s.gateway.services.ledger.flush()
    (row,) = s.gateway.services.ledger.attempts()
    assert row["status"] in ("error", "cancelled")
    assert s.gateway.decisions[-1].status == "cancelled"
    assert s.sent == ["a"]
    assert s.books_balance()


@pytest.mark.parametrize("stream", [False, True])
async def test_who_is_cancelled_while_a_failure_is_judged_is_settled(stream: bool) -> None:
    judging = Judging()
    s = scene({"a": [Fault("server")], "b": ["never asked"]}, judging)
    await cancelled_when(judging.reached, read_all(s) if stream else s.gateway.acomplete("fast", "hello"))
    settled(s, "cancelled")
    assert s.sent == ["a"]
