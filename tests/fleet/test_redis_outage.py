"""Redis is silent, dead, slow or full of nonsense: five policies keep their promises, and none waits."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.books import answer
from support.gateways import deployment
from support.patience import PATIENCE
from support.servers import BadLine, RedisServer
from support.spending import DENIED, MOST_OUTPUT, QUESTION, WINDOW, WORST

from llmgate_plugins import Attempt, Context, Gateway, ProviderError, Request, Response, Usage
from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import (
    Budget,
    LedgerAccounting,
    Limits,
    Policies,
    Policy,
    RequestLimit,
)
from llmgate_plugins.state import open_state

CAP = 3_000 * WORST
"""So that a slice of it, a hundredth, is worth 30 calls."""
COST = 125
"""Of one call, in truth."""
RATE, WORKERS = 4_000, 4
CAMPAIGN = [pytest.mark.campaign]
HARD, RATED, SOFT, PLACED, SICK = "hard", "rated", "soft", "placed", "sick"
"""Tenants; each of them is under one policy."""
MOST = {HARD: CAP // COST // 2, RATED: RATE // 2}
"""Calls a tenant makes at most before Redis returns: however fast the machine, something is left to grant."""


class Provider:
    """Answers at once; "ailing" fails, always."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def send(self, attempt: Attempt, request: Request) -> Response:
        self.sent[attempt.deployment.id] += 1
        if attempt.deployment.id == "ailing":
            raise ProviderError("no", status=503)
        return Response.of("word", usage=Usage(input=5, output=60), deployment_id=attempt.deployment.id)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        return ChunkMeter()


@dataclass(slots=True, kw_only=True)
class Scene:
    """A gateway whose Redis is at the end of a bad line, and what became of its calls."""

    redis: RedisServer
    line: BadLine
    gateway: Gateway
    provider: Provider
    took: list[float] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    denied: Counter[str] = field(default_factory=Counter)
    by: dict[str, Counter[str]] = field(default_factory=dict)

    def call(self, tenant: str) -> None:
        alias = {PLACED: "placed", SICK: "sick"}.get(tenant, "fast")
        context = Context(tenant=tenant, policy=PLACED if tenant == PLACED else None)
        begin = time.perf_counter()
        try:
            answer = self.gateway.complete(alias, QUESTION, max_tokens=MOST_OUTPUT, context=context)
        except DENIED:
            self.denied[tenant] += 1
        else:
            self.served[tenant] += 1
            self.by.setdefault(tenant, Counter())[answer.deployment_id or ""] += 1
        self.took.append(time.perf_counter() - begin)

    def call_all(self, *tenants: str) -> None:
        for tenant in tenants:
            if self.served[tenant] < MOST.get(tenant, math.inf):
                self.call(tenant)

    def forget(self) -> None:
        self.took.clear()
        self.served.clear()
        self.denied.clear()
        self.by.clear()

    def used(self, budget: Budget | RequestLimit, tenant: str) -> tuple[int, int]:
        """(spent, held) of a limit, as Redis has it; on a busy machine it may be slow to answer."""
        until = time.monotonic() + 10
        while True:
            try:
                found: tuple[int, int] = answer(
                    self.gateway.services.state.spent(budget.key(tenant), window=budget.window)
                )
            except StorageError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.02)
            else:
                return found


BUDGET = Budget(f"tenant={HARD}", CAP, WINDOW)
WATCHED = Budget(f"tenant={SOFT}", 10 * WORST, WINDOW, hard=False)
LIMIT = RequestLimit(f"tenant={RATED}", RATE, WINDOW)


@pytest.fixture
def scene(fresh_redis: RedisServer, tmp_path: Path) -> Iterator[Scene]:
    with BadLine(fresh_redis) as line:
        provider = Provider()
        ledger = open_ledger(f"sqlite:///{tmp_path}/books.db")
        state: Any = open_state(f"{line.url}?workers={WORKERS}")
        gateway = Gateway(
            [
                deployment("plain"),
                deployment("here", "placed", region="eu"),
                deployment("there", "placed", region="us"),
                deployment("ailing", "sick"),
                deployment("well", "sick"),
            ],
            plugins=[
                Limits([BUDGET, WATCHED, LIMIT]),
                Policies({PLACED: Policy(region=("eu",)), "none": Policy(region=("mars",))}),
                LedgerAccounting(required=True),
            ],
            transport=provider,
            state=state,
            ledger=ledger,
        )
        yield Scene(redis=fresh_redis, line=line, gateway=gateway, provider=provider)
        state.close()
        ledger.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How Redis goes away, and how it comes back."""

    begin: Callable[[Scene], None]
    end: Callable[[Scene], None]
    away: bool = True


def _nonsense(scene: Scene) -> None:
    client = scene.redis.client
    for key in client.keys("*"):  # type: ignore[union-attr]
        client.set(key, "nonsense")


def _slow(scene: Scene) -> None:
    scene.line.delay = 5.0


OUTAGES = {
    "silent": Outage(begin=lambda scene: scene.redis.pause(), end=lambda scene: scene.redis.resume()),
    "killed": Outage(begin=lambda scene: scene.redis.kill(), end=lambda scene: scene.redis.start() and None),
    "slow by 5 s": Outage(begin=_slow, end=lambda scene: scene.line.mend()),
    # It is there, and begins anew: what is in the keys is taken for lost.
    "full of nonsense": Outage(begin=_nonsense, end=lambda scene: scene.redis.flush(), away=False),
}


@pytest.mark.parametrize("seconds", [0.7, pytest.param(30.0, marks=CAMPAIGN)])
@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_five_policies_hold_while_redis_is_away_and_after(
    scene: Scene, outage: Outage, seconds: float
) -> None:
    until = time.monotonic() + 60
    while scene.used(BUDGET, HARD)[1] < WORST:  # until a slice of the hard budget is set aside here
        assert time.monotonic() < until, "nothing is set aside"
        scene.call_all(HARD, RATED, SOFT, PLACED, SICK)
    before = scene.used(BUDGET, HARD)[0]
    scene.forget()
    until = time.monotonic() + seconds / 3
    while time.monotonic() < until:
        scene.call_all(RATED, SOFT, PLACED, SICK)
    usual = quantile(scene.took, 0.99)
    scene.forget()

    outage.begin(scene)
    began = time.monotonic()
    while time.monotonic() < began + seconds or len(scene.took) < 300:
        scene.call_all(HARD, RATED, SOFT, PLACED, SICK)
    took = time.monotonic() - began
    check_latency(scene.took, usual, seconds)
    spent_here = scene.served[HARD] * COST
    assert before + spent_here <= CAP
    assert spent_here > 0
    if outage.away:
        assert spent_here <= CAP // 100, "a hard budget grants what was set aside, and no more"
        assert scene.served[RATED] <= RATE // WORKERS, "a rate goes on by its share"
    assert scene.served[RATED] > 50
    assert scene.denied[SOFT] == 0, "a soft budget refuses nothing"
    assert scene.by[PLACED] == {"here": scene.served[PLACED]}
    assert scene.denied[PLACED] == 0
    with pytest.raises(DENIED):
        scene.gateway.complete("placed", "hello", context=Context(tenant=PLACED, policy="none"))
    assert scene.by[SICK] == {"well": scene.served[SICK]}
    assert scene.provider.sent["ailing"] <= 8 + took, "it is ejected here, and only probed"
    ledger = scene.gateway.services.ledger
    assert len(ledger.attempts()) >= sum(scene.provider.sent.values())

    outage.end(scene)
    check_return(scene)


def quantile(took: list[float], share: float) -> float:
    return sorted(took)[int(len(took) * share)]


def check_latency(took: list[float], usual: float, seconds: float) -> None:
    """Five answers are waited for, 50 ms each; after that nobody waits for anything.

    A machine that is busy makes a few of them late; where it is waited for, all are.
    """
    p50, p99 = quantile(took, 0.5), quantile(took, 0.99)
    late = sum(one > usual + 0.06 for one in took)
    told = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, before {usual * 1e3:.1f} ms, {late} later"
    print(f"{len(took)} calls: {told}")
    if seconds > 10:
        assert p99 < usual + 0.06, told
    assert late <= 8 + len(took) // 10, told


def check_return(scene: Scene) -> None:
    """Soon after its return Redis counts what the books say, and grants again: in 5 s on a quiet machine."""
    back = time.monotonic()
    counted = sums = dict[str, int]()
    ledger = scene.gateway.services.ledger
    while time.monotonic() < back + PATIENCE:
        scene.call(HARD)
        scene.call(SOFT)
        with suppress(StorageError):
            counted = {HARD: scene.used(BUDGET, HARD)[0], SOFT: scene.used(WATCHED, SOFT)[0]}
            took = time.monotonic() - back  # without the reading of all rows, which may be many
            rows = [row for row in ledger.attempts() if row["status"] == "success"]
            sums = {
                tenant: sum(row["cost_nano_usd"] for row in rows if row["tenant"] == tenant)
                for tenant in (HARD, SOFT)
            }
            if counted == sums:
                break
        time.sleep(0.05)
    else:
        raise AssertionError(f"it counts {counted}, the books say {sums}")
    print(f"counts as the books do {took:.1f} s after its return")
    scene.forget()
    scene.call(HARD)
    assert scene.served[HARD] == 1
