"""A week of calls on virtual time, with faults, streams, budgets and callers who leave, in SQLite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from llmgate_plugins import Attempt, Chunk, Context, Gateway, Request, Response, Usage
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.limits import Quota
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Settlement
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import Fault
from llmgate_plugins.testing.simulation.answers import Account
from llmgate_plugins.testing.steps import error_of
from llmgate_plugins.virtual_time import LoopClock, LoopSleeper, VirtualLoop, run_virtually

__all__ = ["BEGIN", "CONFIG", "WEEK", "record_week"]

IDS = ("a-us", "a-eu", "b-us", "s-us", "s-eu")
WEEK = 7 * 86_400.0
BEGIN = 1_800_000_000.0 + 1_000.0


def _entry(id: str, alias: str, price: float, region: str, **info: Any) -> dict[str, Any]:
    return {
        "model_name": alias,
        "litellm_params": {
            "model": f"openai/model-{id}",
            "api_key": f"sk-{id}",
            "input_cost_per_token": price * 1e-6,
            "output_cost_per_token": 4 * price * 1e-6,
        },
        "model_info": {"id": id, "region": region, "max_input_tokens": 100_000, **info},
    }


CONFIG: Mapping[str, Any] = {
    "model_list": [
        _entry("a-us", "fast", 1.0, "us"),
        _entry("a-eu", "fast", 1.5, "eu"),
        _entry("b-us", "fast", 0.5, "us"),
        _entry("s-us", "strong", 5.0, "us"),
        _entry("s-eu", "strong", 6.0, "eu"),
    ],
    "policies": {
        "default": {"prefer": "weighted"},
        "quick": {"prefer": "fastest", "version": "7"},
        "saving": {"prefer": "cheapest", "fallback_to": ["strong"]},
        "eu": {"require": {"region": "eu"}, "prefer": "fastest"},
    },
    "fallbacks": {"fast": ["strong"]},
    "budgets": [{"scope": "team", "limit": "0.15 USD/day"}],
    "limits": [{"scope": "user", "requests": "30/hour"}],
}


class Providers:
    """Answers by lot: slow sometimes, ill at times, and wordy by model.

    Args:
        limit: Requests that each deployment allows per minute, and says so with every answer.
    """

    def __init__(self, seed: int, busy: Sequence[float], begin: float, limit: int | None = None) -> None:
        self.dice = random.Random(seed)
        self.accounts = {} if limit is None else {id: Account(limit) for id in IDS}
        self.meters: dict[Attempt, ChunkMeter] = {}
        self.spells = {id: [begin + at for at in busy if self.dice.random() < 0.4] for id in IDS}

    def _quota(self, attempt: Attempt, *, take: bool) -> Quota | None:
        """What the headers say.

        Raises:
            ProviderError: There is no more room.
        """
        account = self.accounts.get(attempt.deployment.id)
        if account is None:
            return None
        now = asyncio.get_running_loop().time()
        refused = take and not account.take(now)
        quota = account.quota(now)
        if refused:
            error = error_of(Fault("rate_limit"))
            error.quota = quota  # type: ignore[attr-defined]
            raise error
        return quota

    def _plan(self, attempt: Attempt) -> tuple[float, float, int, str | None]:
        dice, id = self.dice, attempt.deployment.id
        now = asyncio.get_running_loop().time()
        ill = any(begin <= now < begin + 90 for begin in self.spells[id])
        fault = None
        if ill and dice.random() < 0.8:
            fault = dice.choice(("server", "rate_limit", "overloaded", "connection", "hang"))
        elif dice.random() < 0.01:
            fault = dice.choice(("invalid_request", "content_policy", "server"))
        first = dice.lognormvariate(-0.7, 0.5) * (3.0 if id.startswith("s") else 1.0)
        return first, dice.uniform(0.2, 3.0), dice.randint(20, 400), fault

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        first, rest, words, fault = self._plan(attempt)
        if fault == "hang":
            await asyncio.sleep(900)
        self._quota(attempt, take=True)
        await asyncio.sleep(first)
        if fault is not None:
            raise error_of(Fault(fault))
        await asyncio.sleep(rest)
        usage, quota = Usage(input=self._read(request), output=words), self._quota(attempt, take=False)
        return Response.of("x", usage=usage, model=None, quota=quota)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        first, rest, words, fault = self._plan(attempt)
        if fault == "hang":
            await asyncio.sleep(900)
        quota = self._quota(attempt, take=True)
        self.meters[attempt].quota = quota
        await asyncio.sleep(first)
        if fault is not None and words % 2:
            raise error_of(Fault(fault))
        yield Chunk(text="word ")
        for _ in range(4):
            await asyncio.sleep(rest / 5)
            yield Chunk(text="word ")
        if fault is not None:
            raise error_of(Fault(fault))
        await asyncio.sleep(rest / 5)
        usage = Usage(input=self._read(request), output=words)
        yield Chunk(finish_reason="stop", usage=usage)

    def send(self, attempt: Attempt, request: Request) -> Response:
        raise NotImplementedError

    def open(self, attempt: Attempt, request: Request) -> Any:
        raise NotImplementedError

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        made = self.meters[attempt] = ChunkMeter()
        return made

    def _read(self, request: Request) -> int:
        return max(1, sum(len(message.text) for message in request.messages) // 4)


class Unwaited(SqlLedger):
    """On virtual time nobody can wait for a thread; all is written when it is closed."""

    def open_attempt(self, intent: AttemptIntent) -> None:  # type: ignore[override]
        super().open_attempt(intent)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:  # type: ignore[override]
        super().settle_attempt(call_id, number, settlement)
        return True

    def close_call(self, record: DecisionRecord) -> None:  # type: ignore[override]
        super().close_call(record)

    def standing(self, *args: Any, **named: Any) -> Any:
        return super().standing(*args, **named).result(30)

    def gather(self) -> None:  # type: ignore[override]
        super().gather().result(30)


def record_week(
    path: Path,
    calls: int,
    *,
    seed: int = 1,
    config: Mapping[str, Any] = CONFIG,
    noise: float = 0.0,
    limit: int | None = None,
) -> list[DecisionRecord]:
    """Make so many calls within a week; the ledger is at `path`. Returns the records in order of ending."""
    records: list[DecisionRecord] = []
    dice = random.Random(f"week/{seed}")
    plan = sorted(dice.uniform(60.0, WEEK) for _ in range(calls))
    busy = plan[:: max(1, calls // 20)]  # bursts: what happens at the same time matters
    plan = sorted(at if dice.random() < 0.3 else dice.choice(busy) + dice.uniform(0, 60) for at in plan)

    async def main(loop: VirtualLoop) -> None:
        clock = LoopClock(loop)
        gateway = Gateway.from_config(
            config,
            transport=Providers(seed, busy, loop.time(), limit),
            clock=clock,
            sleeper=LoopSleeper(),
            random=random.Random(seed),
            state=MemoryState(clock=clock),
            ledger=Unwaited(f"sqlite:///{path}", queue_limit=1_000_000),
            check_secrets=False,
        )
        begin, tasks = loop.time(), []
        for at in plan:
            await asyncio.sleep(begin + at - loop.time())
            tasks.append(loop.create_task(_one(gateway, loop, dice)))
        await asyncio.wait(tasks)
        gateway.close()

    seen: set[str] = set()
    original = Gateway._remember

    def remember(self: Gateway, record: DecisionRecord) -> None:
        if record.call_id not in seen:
            seen.add(record.call_id)
            records.append(record)
        original(self, record)

    Gateway._remember = remember  # type: ignore[method-assign]
    try:
        run_virtually(main, seed=seed, noise=noise)
    finally:
        Gateway._remember = original  # type: ignore[method-assign]
    return records


async def _one(gateway: Gateway, loop: VirtualLoop, dice: random.Random) -> None:
    context = Context(
        team=dice.choice(("search", "ads", "mail")),
        user=f"u{dice.randrange(8)}",
        policy=dice.choice((None, "quick", "saving", "eu")),
        region=dice.choice((None, None, None, "eu")),
    )
    prompt = "hello you there, " * dice.randint(1, 60)
    model, stream = dice.choice(("fast", "fast", "fast", "strong")), dice.random() < 0.4
    params: dict[str, Any] = {"max_tokens": dice.choice((200, 500))} if dice.random() < 0.7 else {}
    leaves = dice.random()
    deadline = dice.choice((None, None, 20.0))

    async def call() -> None:
        if not stream:
            await gateway.acomplete(model, prompt, context=context, deadline=deadline, **params)
            return
        chunks = gateway.astream(model, prompt, context=context, deadline=deadline, **params)
        async with aclosing(chunks):
            number = 0
            async for _ in chunks:
                number += 1
                if leaves > 0.95 and number == 2:
                    break

    task = loop.create_task(call())
    if leaves < 0.05:
        loop.call_later(dice.uniform(0.05, 2.0), task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
