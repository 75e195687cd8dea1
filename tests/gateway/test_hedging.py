"""A second deployment is asked while the first keeps silent; the slower one is stopped and booked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from support.faces import FACES, STREAMS, ask
from support.gateways import deployment
from support.leaving import Judging, cancelled_when
from support.patience import PATIENCE, auntil, until

from llmgate_plugins import Gateway, Limits, Message, Request, Skip, hookimpl
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins import Budget
from llmgate_plugins.plugins import Limits as Budgets
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.testing import Fault, ScriptedProvider, Slow, Stream
from llmgate_plugins.types import Attempt, Chunk

hedging_faces = pytest.mark.parametrize("face", ["sync", "async", *STREAMS])
QUICK, LONG = 0.03, 2 * PATIENCE
WHEN_ASKED, WHEN_ENDED = 0.001, 0.05
"""Seconds after the second deployment was asked; after the other one has said all it says."""


class Hedge:
    """Hedges every attempt that has an alternative."""

    def __init__(self, after: float = QUICK) -> None:
        self.after = after
        self.ended: list[tuple[str, str]] = []

    @hookimpl
    def limit_attempt(self, alternatives: int) -> Limits | None:
        return Limits(hedge_after=self.after) if alternatives else None

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Any) -> None:
        self.ended.append((attempt.deployment.id, outcome.status))


class Provider(ScriptedProvider):
    """Notes which deployments have said all they say."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.ended: list[str] = []

    def _pieces(self, attempt: Attempt, request: Any, step: Any) -> Iterator[Chunk]:
        try:
            yield from super()._pieces(attempt, request, step)
        finally:
            self.ended.append(attempt.deployment.id)

    async def _apieces(self, attempt: Attempt, request: Any, step: Any) -> AsyncGenerator[Chunk, None]:
        try:
            async with aclosing(super()._apieces(attempt, request, step)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.ended.append(attempt.deployment.id)


class Stage:
    """Real time: what a thread does in the background cannot be had on a virtual clock."""

    def __init__(self, script: dict[str, Sequence[Any]], *plugins: object, after: float = QUICK) -> None:
        self.provider = Provider(script, default=None, sleeper=self)
        self.hedge = Hedge(after)
        self.ledger = MemoryLedger()
        self.gateway = Gateway(
            [deployment(id, provider=f"provider-{id}") for id in script],
            plugins=[*plugins, self.hedge],
            transport=self.provider,
            ledger=self.ledger,
        )

    def sleep(self, seconds: float) -> None:
        """Sleep as a provider, from the moment on after which these seconds are meant."""
        until(self._moment(seconds))
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await auntil(self._moment(seconds))
        await asyncio.sleep(seconds)

    def _moment(self, seconds: float) -> Callable[[], bool]:
        asked, ended = lambda: len(self.provider.sent) > 1, lambda: bool(self.provider.ended)
        return {WHEN_ASKED: asked, WHEN_ENDED: ended}.get(seconds, lambda: True)

    def rows(self) -> dict[str, str]:
        return {row["deployment"]: row["status"] for row in self.ledger.attempts()}


@hedging_faces
def test_the_faster_one_answers_and_the_slower_one_is_cancelled_and_booked(face: str) -> None:
    stage = Stage({"a": [Slow(LONG, "late")], "b": ["soon"]})
    began = time.monotonic()
    told = ask(face, stage.gateway)
    assert (told.text, told.error) == ("soon", None)
    assert time.monotonic() - began < PATIENCE
    assert [(attempt.deployment.id, attempt.reason) for attempt, _ in told.record.attempts] == [
        ("a", "first"),
        ("b", "hedge"),
    ]
    assert told.statuses == ["cancelled", "success"]
    assert [attempt.number for attempt, _ in told.record.attempts] == [1, 2]
    assert stage.rows() == {"a": "cancelled", "b": "success"}
    assert all(row["cost_nano_usd"] > 0 for row in stage.ledger.attempts())
    assert stage.hedge.ended == [("a", "cancelled"), ("b", "success")]


@hedging_faces
def test_the_first_may_still_win(face: str) -> None:
    stage = Stage({"a": [Slow(WHEN_ASKED, "first")], "b": [Slow(LONG, "second")]})
    told = ask(face, stage.gateway)
    assert told.text == "first"
    assert stage.rows() == {"a": "success", "b": "cancelled"}
    assert told.record.served_by == "a"


@hedging_faces
def test_an_answer_in_time_is_not_hedged(face: str) -> None:
    stage = Stage({"a": [Slow(QUICK, "in time")], "b": ["never"]}, after=LONG)
    assert ask(face, stage.gateway).text == "in time"
    assert stage.rows() == {"a": "success"}


@hedging_faces
def test_one_that_fails_leaves_the_other_to_answer(face: str) -> None:
    stage = Stage({"a": [Slow(WHEN_ASKED, Fault("server"))], "b": [Slow(WHEN_ENDED, "b")]})
    told = ask(face, stage.gateway)
    assert (told.text, told.statuses) == ("b", ["error", "success"])
    stage = Stage({"a": [Slow(WHEN_ENDED, "a")], "b": [Fault("server")]})
    told = ask(face, stage.gateway)
    assert told.text == "a"
    assert stage.rows() == {"a": "success", "b": "error"}


@hedging_faces
def test_when_both_fail_the_call_goes_on_as_after_any_failure(face: str) -> None:
    stage = Stage(
        {"a": [Slow(WHEN_ENDED, Fault("authentication"))], "b": [Fault("authentication")], "c": ["third"]}
    )
    told = ask(face, stage.gateway)
    assert (told.text, told.tried) == ("third", ["b", "a", "c"])


@hedging_faces
def test_an_early_failure_is_not_hedged_but_failed_over(face: str) -> None:
    stage = Stage({"a": [Fault("server")], "b": ["b"]}, after=LONG)
    told = ask(face, stage.gateway)
    assert [attempt.reason for attempt, _ in told.record.attempts] == ["first", "next_deployment"]


@hedging_faces
def test_a_hedge_that_may_not_begin_is_skipped(face: str) -> None:
    class NoHedges:
        @hookimpl
        def begin_attempt(self, attempt: Attempt) -> Skip | None:
            if attempt.reason != "hedge":
                return None
            stage.provider.ended.append("b")
            return Skip("no_hedges")

    stage = Stage({"a": [Slow(WHEN_ENDED, "a")], "b": ["b"]}, NoHedges())
    told = ask(face, stage.gateway)
    assert told.text == "a"
    assert sorted(told.statuses) == ["skipped", "success"]


@hedging_faces
def test_both_are_held_and_settled_and_one_that_does_not_fit_is_not_sent(face: str) -> None:
    request = Request(
        model="fast", messages=(Message(role="user", content="hello"),), params={"max_tokens": 10}
    )
    worst = worst_cost(deployment("a"), request, assume_output=10)
    for fits, statuses in ((True, ["cancelled", "success"]), (False, ["skipped", "success"])):
        budget = Budget("global", 2 * worst if fits else 2 * worst - 1, 1e9)
        script = {"a": [Slow(LONG, "late")] if fits else [Slow(10 * QUICK, "first")], "b": ["soon"]}
        stage = Stage(script, Budgets([budget]))
        told = ask(face, stage.gateway, request)
        assert (told.text, told.statuses) == ("soon" if fits else "first", statuses)
        rows = stage.ledger.attempts()
        spent, held = stage.gateway.services.state.spent(budget.key(), window=1e9)
        assert (spent, held) == (sum(row["cost_nano_usd"] for row in rows), 0)
        assert all(row["cost_nano_usd"] <= row["reserve_nano_usd"] for row in rows)


@pytest.mark.parametrize("face", STREAMS)
def test_every_stream_that_was_opened_is_closed(face: str) -> None:
    stage = Stage({"a": [Slow(WHEN_ENDED, Stream("late"))], "b": [Stream("so", "on")]})
    assert ask(face, stage.gateway).text == "soon"
    until(lambda: sorted(stage.provider.closed) == ["a", "b"])  # a thread brings its stream home first
    assert sorted(stage.provider.opened) == ["a", "b"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_task_cancels_both_and_books_both(stream: bool) -> None:
    stage = Stage({"a": [Slow(LONG, "a")], "b": [Slow(LONG, "b")]})

    async def call() -> None:
        if stream:
            async for _ in stage.gateway.astream("fast", "hello"):
                pass
        else:
            await stage.gateway.acomplete("fast", "hello")

    others = asyncio.all_tasks()
    task = asyncio.create_task(call())
    await auntil(lambda: len(stage.provider.sent) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.rows() == {"a": "cancelled", "b": "cancelled"}
    assert asyncio.all_tasks() == others


class Told:
    """Takes its time over the first attempt that it is told has ended."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    @hookimpl
    async def end_attempt(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await asyncio.sleep(0.05)


async def test_who_is_cancelled_while_one_hears_of_a_lost_hedge_keeps_it_from_nobody() -> None:
    told = Told()
    stage = Stage({"a": [Slow(LONG, "late")], "b": ["soon"]}, told)
    await cancelled_when(told.reached, stage.gateway.acomplete("fast", "hello"))
    assert stage.rows() == {"a": "cancelled", "b": "success"}


@pytest.mark.parametrize("stream", [False, True])
async def test_who_is_cancelled_while_the_failure_of_a_hedge_is_judged_leaves_both_settled(
    stream: bool,
) -> None:
    judging = Judging()
    stage = Stage({"a": [Slow(WHEN_ASKED, Fault("server"))], "b": [Fault("server")]}, judging)

    async def read() -> None:
        async for _ in stage.gateway.astream("fast", "hello"):
            pass

    await cancelled_when(judging.reached, read() if stream else stage.gateway.acomplete("fast", "hello"))
    assert set(stage.rows().values()) <= {"error", "cancelled"}
    assert len(stage.rows()) == 2


def test_a_thread_of_a_hedge_keeps_no_program_alive() -> None:
    stage = Stage({"a": [Slow(LONG, "late")], "b": ["soon"]})
    ask("sync", stage.gateway)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "llmgate-hedge")


def test_a_host_that_sends_by_itself_is_not_hedged() -> None:
    stage = Stage({"a": [Slow(3 * QUICK, "a")], "b": ["b"]})
    for face in set(FACES) - {"sync", "async", *STREAMS}:
        assert ask(face, stage.gateway).text == "a"


@pytest.mark.parametrize("face", STREAMS)
def test_a_role_alone_is_no_first_token(face: str) -> None:
    slow_to_speak = Stream(Chunk(), Chunk(), *[])
    stage = Stage({"a": [Slow(LONG, slow_to_speak)], "b": ["b"]})
    assert ask(face, stage.gateway).text == "b"
