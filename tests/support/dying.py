"""Processes that call through a gateway until they are killed, and write down what they were told."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

from llmgate_plugins import (
    Attempt,
    Chunk,
    Gateway,
    Outcome,
    ProviderError,
    Request,
    Response,
    Usage,
    hookimpl,
)
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.meters import ChunkMeter
from support.gateways import deployment

__all__ = ["PHASES", "Phase", "call_until_killed", "open_and_die", "told", "upgrade_and_die"]

Phase = Literal["any", "before the intent", "sent", "mid-stream", "before the settlement", "in a transaction"]
PHASES: tuple[Phase, ...] = (
    "any",
    "before the intent",
    "sent",
    "mid-stream",
    "before the settlement",
    "in a transaction",
)
ENOUGH_OF = {"in a transaction": 150}
"""How often a process passes the place where it dies; a statement is passed most often."""


class Telling:
    """Lines that are in a file when `tell` returns, whatever happens to this process afterwards."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Death:
    """A plugin, and whatever else passes by the place at which this process kills itself.

    Args:
        phase: Where; "any" leaves it to others.
        after: How often it is passed before.
    """

    name = "Death"

    def __init__(self, phase: str, after: int) -> None:
        self._phase = phase
        self._left = itertools.count(after, -1)

    def passes(self, place: str) -> None:
        if place == self._phase and next(self._left) <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @hookimpl
    def begin_attempt(self) -> None:
        """Other plugins run before the ledger's."""
        self.passes("before the intent")

    @hookimpl
    def end_attempt(self, outcome: Outcome) -> None:
        self.passes("before the settlement")


class Provider:
    """Tells of every request that it gets, and fails one in four on the first deployment."""

    def __init__(self, telling: Telling, death: Death) -> None:
        self._telling, self._death = telling, death

    def _take(self, attempt: Attempt) -> None:
        self._telling.tell("sent", attempt.call_id, attempt.number)
        self._death.passes("sent")
        if attempt.deployment.id == "a" and hash(attempt.call_id) % 4 == 0:
            raise ProviderError("no", status=503)

    def send(self, attempt: Attempt, request: Request) -> Response:
        self._take(attempt)
        return Response.of("word " * 5, usage=Usage(input=10, output=5))

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        return self.send(attempt, request)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        self._take(attempt)
        for _ in range(4):
            yield Chunk(text="word ")
            self._death.passes("mid-stream")
        yield Chunk(text="word ", finish_reason="stop", usage=Usage(input=10, output=5))

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        for piece in self.open(attempt, request):
            yield piece
            await asyncio.sleep(0)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()


def call_until_killed(url: str, name: str, file: Path, phase: str, after: int) -> None:
    """Three threads and five tasks that call, whole and streamed, until this process is killed.

    `file` gets a line "sent CALL NUMBER" when an attempt is under way, and "over CALL COST"
    when its caller has the answer.
    """
    telling, death = Telling(file), Death(phase, after)
    if phase == "in a transaction":
        _die_between_statements(death)
    gateway = Gateway(
        [deployment("a"), deployment("b")],
        plugins=[death],
        transport=Provider(telling, death),
        ledger=open_ledger(url),
    )
    threads = [threading.Thread(target=_calls, args=(gateway, telling, f"{name}-{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(_tasks(gateway, telling, name))


def _calls(gateway: Gateway, telling: Telling, name: str) -> None:
    for turn in itertools.count():
        call_id = f"{name}-{turn}"
        if turn % 2:
            gateway.complete("fast", "a question", call_id=call_id)
        else:
            for _ in gateway.stream("fast", "a question", call_id=call_id):
                pass
        _over(gateway, telling, call_id)


async def _tasks(gateway: Gateway, telling: Telling, name: str) -> None:
    async def call(worker: str) -> None:
        for turn in itertools.count():
            call_id = f"{name}-{worker}-{turn}"
            if turn % 2:
                await gateway.acomplete("fast", "a question", call_id=call_id)
            else:
                async for _ in gateway.astream("fast", "a question", call_id=call_id):
                    pass
            _over(gateway, telling, call_id)

    await asyncio.gather(*(call(f"t{n}") for n in range(5)))


def _over(gateway: Gateway, telling: Telling, call_id: str) -> None:
    record = gateway.decision(call_id)
    assert record is not None
    telling.tell("over", call_id, record.cost)


def _die_between_statements(death: Death) -> None:
    from llmgate_plugins.ledger.pen import Pen

    run = Pen.run

    def run_and_pass(pen: Pen, *given: Any) -> int:
        changed = run(pen, *given)
        death.passes("in a transaction")
        return changed

    Pen.run = run_and_pass  # type: ignore[method-assign]


def open_and_die(url: str, statements: int) -> None:
    """Open a ledger, and die after so many statements of whatever that takes."""
    _die_after(statements)
    open_ledger(url).close()


def upgrade_and_die(url: str, statements: int) -> None:
    """Upgrade a ledger, and die after so many statements."""
    from llmgate_plugins.ledger.opening import open_database
    from llmgate_plugins.ledger.upgrading import upgrade

    _die_after(statements)
    upgrade(open_database(url))


def _die_after(statements: int) -> None:
    from sqlalchemy import Engine, event

    death = Death("any statement", statements)

    @event.listens_for(Engine, "after_cursor_execute")
    def _passes(*_: Any) -> None:
        death.passes("any statement")


def told(file: Path) -> tuple[set[tuple[str, int]], dict[str, int]]:
    """(attempts that were sent, calls that were over -> cost), without a line that was cut."""
    sent: set[tuple[str, int]] = set()
    over: dict[str, int] = {}
    for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if not line.endswith("\n"):
            continue
        kind, call_id, number = line.split()
        if kind == "sent":
            sent.add((call_id, int(number)))
        else:
            over[call_id] = int(number)
    return sent, over
