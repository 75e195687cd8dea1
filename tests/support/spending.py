"""Many calls at once against one budget: in tasks, threads or processes, and what they have cost in truth."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from llmgate_plugins import (
    AllDeploymentsUnavailable,
    Attempt,
    Chunk,
    Gateway,
    Message,
    Request,
    RequestDenied,
    Response,
    Usage,
)
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.plugins.limits import admission
from llmgate_plugins.services import Ledger, State
from llmgate_plugins.state import open_state
from support.gateways import PRICE, deployment

__all__ = [
    "KEY",
    "UNTIL",
    "WINDOW",
    "WORST",
    "Bills",
    "Spending",
    "billed",
    "budget",
    "spend",
    "spend_through",
]

QUESTION: Final = "what does it cost?"
MOST_OUTPUT: Final = 100
WINDOW: Final = 1_000_000_000.0
"""Longer than any test, so that sums can be compared."""
KEY: Final = Budget("global", 1, WINDOW).key()
WORST: Final = worst_cost(
    deployment("a"),
    Request(
        model="fast", messages=(Message(role="user", content=QUESTION),), params={"max_tokens": MOST_OUTPUT}
    ),
    assume_output=MOST_OUTPUT,
)
"""What the budget holds for one call; what it costs in truth is less."""
DENIED: Final = (AllDeploymentsUnavailable, RequestDenied)
UNTIL: Final = "until"
"""Name of a file with monotonic seconds."""
GRACE: Final = 1.0
"""Seconds for which what is held for a call outlasts its deadline."""
AGAIN: Final = 0.02
"""Seconds until somebody who was denied asks again."""


def budget(cap: int) -> object:
    """A plugin with one hard budget for all calls together, counted under `KEY` in `WINDOW`."""
    return Limits([Budget("global", cap, WINDOW, assume_output=MOST_OUTPUT)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """How one process spends.

    Attributes:
        state, ledger: URLs.
        cap: Nano-dollars of the budget.
        tasks, threads: How many of them call, one call after another.
        until: Monotonic seconds at which they stop.
        over: Whether they stop before.
        deadline: Seconds of a call.
        takes: Seconds of an answer, at most.
    """

    state: str
    ledger: str
    cap: int
    tasks: int = 0
    threads: int = 0
    until: float = 0.0
    over: Callable[[], bool] = bool
    deadline: float = 2.0
    takes: float = 0.01

    def goes_on(self) -> bool:
        return time.monotonic() < self.until and not self.over()

    def gateway(self, transport: Any, state: State, ledger: Ledger) -> Gateway:
        return Gateway(
            [deployment("a")],
            transport=transport,
            plugins=[budget(self.cap)],
            state=state,
            ledger=ledger,
            deadline=self.deadline,
        )


class Bills:
    """A provider that writes down what it bills for before it answers, as a provider does.

    Answers take their time, and have any length up to what was allowed.
    """

    def __init__(self, file: Path, takes: float) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._takes = takes
        self._chance = random.Random(file.name)

    def _bill(self, attempt: Attempt) -> tuple[float, Usage]:
        usage = Usage(input=5, output=self._chance.randint(MOST_OUTPUT // 2, MOST_OUTPUT))
        cost = (usage.input * PRICE.input + usage.output * PRICE.output) // 1_000_000
        os.write(self._file, f"{attempt.call_id} {attempt.number} {cost}\n".encode())
        return self._chance.uniform(0.2, 1.0) * self._takes, usage

    def send(self, attempt: Attempt, request: Request) -> Response:
        seconds, usage = self._bill(attempt)
        time.sleep(seconds)
        return Response.of("word", usage=usage)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        seconds, usage = self._bill(attempt)
        await asyncio.sleep(seconds)
        return Response.of("word", usage=usage)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        seconds, usage = self._bill(attempt)
        time.sleep(seconds)
        yield Chunk(text="word", finish_reason="stop", usage=usage)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        seconds, usage = self._bill(attempt)
        await asyncio.sleep(seconds)
        yield Chunk(text="word", finish_reason="stop", usage=usage)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()

    def close(self) -> None:
        os.close(self._file)


def spend(how: Spending, file: Path) -> None:
    """Call as soon as a file `UNTIL` next to `file` says until when; what was billed is in `file`.

    It is also there if this process is killed."""
    admission.GRACE = GRACE  # so that the holds of those that are killed end soon
    ledger, state = open_ledger(how.ledger), open_state(how.state)
    bills = Bills(file, how.takes)
    gateway = how.gateway(bills, state, ledger)
    until = file.with_name(UNTIL)
    while not until.exists():
        time.sleep(0.01)
    spend_through(gateway, replace(how, until=float(until.read_text())))
    state.close()
    ledger.close()
    bills.close()


def spend_through(gateway: Gateway, how: Spending) -> None:
    """Call until it is over, in tasks and threads at once."""
    threads = [
        threading.Thread(target=_in_thread, args=(gateway, how, number)) for number in range(how.threads)
    ]
    for thread in threads:
        thread.start()
    if how.tasks:
        asyncio.run(_in_tasks(gateway, how))
    for thread in threads:
        thread.join()


def _in_thread(gateway: Gateway, how: Spending, number: int) -> None:
    turn = number
    while how.goes_on():
        turn += 1
        try:
            if turn % 2:
                gateway.complete("fast", QUESTION, max_tokens=MOST_OUTPUT)
            else:
                for _ in gateway.stream("fast", QUESTION, max_tokens=MOST_OUTPUT):
                    pass
        except DENIED:
            time.sleep(AGAIN)


async def _in_tasks(gateway: Gateway, how: Spending) -> None:
    async def work(turn: int) -> None:
        while how.goes_on():
            turn += 1
            try:
                if turn % 2:
                    await gateway.acomplete("fast", QUESTION, max_tokens=MOST_OUTPUT)
                else:
                    async for _ in gateway.astream("fast", QUESTION, max_tokens=MOST_OUTPUT):
                        pass
            except DENIED:
                await asyncio.sleep(AGAIN)

    await asyncio.gather(*(work(number) for number in range(how.tasks)))


def billed(files: list[Path]) -> dict[tuple[str, int], int]:
    """What the provider has billed for: (call, attempt) -> nano-dollars."""
    bills: dict[tuple[str, int], int] = {}
    for file in files:
        for line in file.read_text().splitlines():
            call_id, number, cost = line.split()
            key = (call_id, int(number))
            assert key not in bills, "an attempt was sent twice"
            bills[key] = int(cost)
    return bills
