"""Whoever leaves, in whatever way: one row, billed for what came, and nothing held any more."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from support.gateways import Scene, deployment
from support.patience import auntil, time_that_is_over_when
from support.spending import KEY, WINDOW, budget

from llmgate_plugins import Gateway, Message, Request
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Hang, ScriptedProvider, Stream
from llmgate_plugins.usage import USUAL_OUTPUT

CAP = 1_000_000
WORDS = "one two three four five six seven eight nine ten"
QUESTION = "count to ten, please"
DELIVERED = 3
ANSWER = Stream(*(f"{word} " for word in WORDS.split()))
STUCK = Stream(*(f"{word} " for word in WORDS.split()[:DELIVERED]), Hang())

Way = Callable[[Any], Awaitable[None]]


def read(chunks: Any) -> None:
    for _ in range(DELIVERED):
        next(chunks)


async def aread(chunks: Any) -> None:
    for _ in range(DELIVERED):
        await anext(chunks)


async def a_break(gateway: Any) -> None:
    for number, _ in enumerate(gateway.stream("fast", QUESTION), 1):
        if number == DELIVERED:
            break


async def a_close(gateway: Any) -> None:
    chunks = gateway.stream("fast", QUESTION)
    read(chunks)
    chunks.close()


async def an_error_of_the_reader(gateway: Any) -> None:
    with suppress(ZeroDivisionError):
        for number, _ in enumerate(gateway.stream("fast", QUESTION), 1):
            1 / (DELIVERED - number)


async def a_stream_that_is_collected(gateway: Any) -> None:
    read(gateway.stream("fast", QUESTION))
    gc.collect()


async def an_async_break(gateway: Any) -> None:
    number = 0
    async for _ in gateway.astream("fast", QUESTION):
        number += 1
        if number == DELIVERED:
            break


async def an_aclose(gateway: Any) -> None:
    chunks = gateway.astream("fast", QUESTION)
    await aread(chunks)
    await chunks.aclose()


async def an_async_stream_that_is_collected(gateway: Any) -> None:
    await aread(gateway.astream("fast", QUESTION))
    gc.collect()


async def a_cancelled_reader(gateway: Any) -> None:
    read: list[str] = []

    async def reads() -> None:
        async for chunk in gateway.astream("fast", QUESTION):
            read.append(chunk.text)

    task = asyncio.create_task(reads())
    await auntil(lambda: len(read) == DELIVERED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def a_timeout_of_the_reader(gateway: Any) -> None:
    read: list[str] = []

    async def reads() -> None:
        async with time_that_is_over_when(lambda: len(read) == DELIVERED):
            async for chunk in gateway.astream("fast", QUESTION):
                read.append(chunk.text)

    with pytest.raises(TimeoutError):
        await reads()


IN_THE_MIDDLE: dict[Way, Stream] = {
    a_break: ANSWER,
    a_close: ANSWER,
    an_error_of_the_reader: ANSWER,
    a_stream_that_is_collected: ANSWER,
    an_async_break: ANSWER,
    an_aclose: ANSWER,
    an_async_stream_that_is_collected: ANSWER,
    a_cancelled_reader: STUCK,
    a_timeout_of_the_reader: STUCK,
}


def settled(s: Scene) -> dict[str, Any]:
    """The only row there is; the state counts what it says, and holds nothing."""
    (row,) = s.ledger.attempts()
    assert s.books_balance()
    assert s.state.spent(KEY, window=WINDOW) == (row["cost_nano_usd"], 0)
    assert s.provider.opened == s.provider.closed
    return row


def played(s: Scene, leave: Way) -> None:
    async def main() -> None:
        await leave(s.gateway)
        gc.collect()
        await asyncio.sleep(0.01)  # the loop closes what was forgotten

    asyncio.run(main())


@pytest.mark.parametrize("leave", IN_THE_MIDDLE, ids=lambda way: way.__name__)
def test_who_leaves_in_mid_answer_pays_for_what_came(leave: Way) -> None:
    s = Scene({"a": [IN_THE_MIDDLE[leave]]}, [budget(CAP)])
    whole = Scene({"a": [ANSWER]}, [budget(CAP)])
    for _ in whole.gateway.stream("fast", QUESTION):
        pass
    played(s, leave)
    row = settled(s)
    assert row["status"] in ("abandoned", "cancelled")
    assert row["estimated"]
    assert row["input_tokens"] > 0
    assert 0 < row["output_tokens"] < settled(whole)["output_tokens"]


async def a_cancelled_call(gateway: Any) -> None:
    task = asyncio.create_task(gateway.acomplete("fast", QUESTION))
    await auntil(lambda: gateway.transport.sent)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def a_timeout_around_a_call(gateway: Any) -> None:
    with pytest.raises(TimeoutError):
        async with time_that_is_over_when(lambda: gateway.transport.sent):
            await gateway.acomplete("fast", QUESTION)


async def a_host_that_steps_and_goes(gateway: Any) -> None:
    steps = gateway.steps(Request(model="fast", messages=(Message(role="user", content=QUESTION),)))
    next(steps)
    steps.close()


async def an_async_host_that_steps_and_goes(gateway: Any) -> None:
    steps = gateway.asteps(Request(model="fast", messages=(Message(role="user", content=QUESTION),)))
    await anext(steps)
    await steps.aclose()


@pytest.mark.parametrize(
    "leave",
    [
        a_cancelled_call,
        a_timeout_around_a_call,
        a_host_that_steps_and_goes,
        an_async_host_that_steps_and_goes,
    ],
    ids=lambda way: way.__name__,
)
def test_who_leaves_before_a_whole_answer_pays_for_what_was_expected_of_it(leave: Way) -> None:
    s = Scene({"a": [Hang()]}, [budget(CAP)])
    played(s, leave)
    row = settled(s)
    assert row["status"] in ("abandoned", "cancelled")
    assert row["estimated"]
    assert row["input_tokens"] > 0
    assert row["output_tokens"] == USUAL_OUTPUT


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_sync_call_that_is_interrupted_pays_for_the_question(error: type[BaseException]) -> None:
    s = Scene({"a": [error()]}, [budget(CAP)])
    with pytest.raises(error):
        s.gateway.complete("fast", QUESTION)
    assert settled(s)["input_tokens"] > 0


async def never_begun(gateway: Any) -> None:
    gateway.stream("fast", QUESTION)


async def never_begun_and_closed(gateway: Any) -> None:
    gateway.stream("fast", QUESTION).close()


async def never_begun_in_a_loop(gateway: Any) -> None:
    await gateway.astream("fast", QUESTION).aclose()


async def admitted_and_dismissed(gateway: Any) -> None:
    gateway.dismiss(gateway.admit(Request(model="fast")))


@pytest.mark.parametrize(
    "leave",
    [never_begun, never_begun_and_closed, never_begun_in_a_loop, admitted_and_dismissed],
    ids=lambda way: way.__name__,
)
def test_a_stream_that_nobody_reads_costs_and_holds_nothing(leave: Way) -> None:
    s = Scene({"a": [ANSWER]}, [budget(CAP)])
    played(s, leave)
    assert s.ledger.attempts() == []
    assert s.state.spent(KEY, window=WINDOW) == (0, 0)
    assert s.sent == []


class Distant:
    """A state that is a moment away, as one on another machine."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def __getattr__(self, name: str) -> Any:
        async def later(*given: Any, **named: Any) -> Any:
            await asyncio.sleep(0.02)
            try:
                return getattr(self._state, name)(*given, **named)
            finally:
                await asyncio.sleep(0.02)

        return later


@pytest.mark.parametrize("after", [0.01, 0.03, 0.05, 0.07, 0.09, 0.11])
@pytest.mark.parametrize("stream", [False, True])
def test_who_is_cancelled_while_a_distant_state_is_asked_leaves_nothing_held(
    after: float, stream: bool
) -> None:
    state = MemoryState()
    provider = ScriptedProvider({"a": [STUCK if stream else Hang()]})
    ledger = MemoryLedger()
    gateway = Gateway(
        [deployment("a")], plugins=[budget(CAP)], transport=provider, state=Distant(state), ledger=ledger
    )

    async def ask() -> None:
        if not stream:
            await gateway.acomplete("fast", QUESTION)
        async for _ in gateway.astream("fast", QUESTION):
            pass

    async def main() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)

    asyncio.run(main())
    rows = ledger.attempts()
    assert len(rows) <= 1
    assert state.spent(KEY, window=WINDOW) == (sum(row["cost_nano_usd"] for row in rows), 0)
    assert all(row["status"] in ("cancelled", "skipped") for row in rows)
