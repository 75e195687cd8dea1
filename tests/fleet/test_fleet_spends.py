"""Many processes that share one budget never overspend it, whatever happens to them, to Redis, or to both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support.books import answer
from support.servers import BadLine, RedisServer
from support.spending import (
    DENIED,
    GRACE,
    KEY,
    MOST_OUTPUT,
    QUESTION,
    UNTIL,
    WINDOW,
    WORST,
    Bills,
    Spending,
    billed,
    spend,
)
from support.writers import processes

from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.plugins.holds import SETTLED
from llmgate_plugins.services import Ledger
from llmgate_plugins.state import open_state
from llmgate_plugins.state.redis import RedisState

CAP = 20 * WORST


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """How many processes, tasks in each, and seconds for which they spend.

    A call may have to wait twice until the books can be believed: as the state begins, and when
    it was emptied. Its deadline leaves time for an answer even then, since nobody but the provider
    knows what an attempt cost that ran out of time.
    """

    processes: int
    tasks: int
    seconds: float
    outage: float
    deadline: float


SMALL = Fleet(processes=3, tasks=10, seconds=SETTLED + 3.0, outage=0.7, deadline=2 * SETTLED + 2.0)
FULL = Fleet(processes=8, tasks=50, seconds=12.0, outage=5.0, deadline=15.0)
FLEETS = [
    pytest.param(SMALL, id="small"),
    pytest.param(FULL, id="full", marks=[pytest.mark.campaign]),
]


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a trouble can get at."""

    fleet: Fleet
    redis: RedisServer
    line: BadLine
    gateways: list[BaseProcess]
    replicas: list[RedisServer]


def nothing(scene: Scene) -> None:
    """All goes well."""


def half_are_killed(scene: Scene) -> None:
    for gateway in scene.gateways[: len(scene.gateways) // 2]:
        gateway.kill()
        time.sleep(random.Random(len(scene.gateways)).uniform(0.0, 0.05))


def everything_is_flushed(scene: Scene) -> None:
    scene.redis.flush()


def redis_is_paused(scene: Scene) -> None:
    scene.redis.pause()
    time.sleep(scene.fleet.outage)
    scene.redis.resume()


def redis_is_killed_and_comes_back_empty(scene: Scene) -> None:
    scene.redis.kill()
    time.sleep(scene.fleet.outage)
    scene.redis.start()


def a_replica_that_lacks_the_last_writes_takes_over(scene: Scene) -> None:
    replica = scene.redis.replica()
    scene.replicas.append(replica)
    time.sleep(0.1)
    replica.promote()
    time.sleep(0.2)  # what the primary grants and books in this time is lost
    scene.line.lead_to(replica)
    scene.redis.kill()


TROUBLES: list[Callable[[Scene], None]] = [
    nothing,
    half_are_killed,
    everything_is_flushed,
    redis_is_paused,
    redis_is_killed_and_comes_back_empty,
    a_replica_that_lacks_the_last_writes_takes_over,
]


@contextmanager
def at_work(fleet: Fleet, redis: RedisServer, ledger: str, files: list[Path]) -> Iterator[Scene]:
    """The fleet spends; when this is left, all its processes have ended."""
    context = processes()
    with BadLine(redis) as line:
        how = Spending(
            state=f"{line.url}?timeout=300ms",  # patient: the machine is busy
            ledger=ledger,
            cap=CAP,
            tasks=fleet.tasks,
            deadline=fleet.deadline,
            takes=0.3,
        )
        gateways = [context.Process(target=spend, args=(how, file)) for file in files]
        scene = Scene(fleet=fleet, redis=redis, line=line, gateways=gateways, replicas=[])
        try:
            for gateway in gateways:
                gateway.start()
            until = time.monotonic() + 60
            while not all(file.exists() for file in files):
                assert time.monotonic() < until, "the gateways do not start"
                time.sleep(0.01)
            begin = files[0].with_name("begin")
            begin.write_text(str(time.monotonic() + fleet.seconds))
            begin.rename(files[0].with_name(UNTIL))
            yield scene
            for gateway in gateways:
                gateway.join(fleet.seconds + 30)
                assert not gateway.is_alive(), "a gateway did not end"
        finally:
            for gateway in gateways:
                gateway.kill()
                gateway.join()
            for replica in scene.replicas[:-1]:
                replica.close()


def check_at_rest(
    fleet: Fleet, redis: RedisServer, ledger_url: str, files: list[Path], *, killed: bool
) -> str:
    """Books, counters and bills are the same money, none of it is held, and it is not above the cap.

    Where a process was killed, its attempts are booked by recovery, and counters are forgotten:
    whoever calls next counts the books anew, as after a flush.
    """
    ledger, state = open_ledger(ledger_url), open_state(redis.url)
    if killed:
        until = time.monotonic() + fleet.deadline + GRACE + 5
        while any(row["status"] == "intent" for row in ledger.attempts()) and time.monotonic() < until:
            time.sleep(0.1)
            ledger.recover_expired(now=time.time())
        redis.client.delete(state.epoch_key)
    last = files[0].with_name("bills-last")
    ask_once_more(state, ledger, last, deadline=fleet.deadline)
    sent = billed([*files, last])
    rows = {(row["call_id"], row["number"]): row for row in ledger.attempts() if row["status"] != "skipped"}
    spent = sum(row["cost_nano_usd"] for row in rows.values())
    told = f"{len(sent)} sent, {spent / WORST:.2f} of {CAP / WORST:.0f} spent"
    assert sum(sent.values()) <= CAP, told
    assert spent <= CAP, told
    assert sent.keys() <= rows.keys(), "something was sent that has no row"
    ends = {"success", "unknown"} if killed else {"success"}
    assert {row["status"] for row in rows.values()} <= ends
    for key, row in rows.items():
        if row["status"] == "success":
            assert row["cost_nano_usd"] == sent[key]
        else:
            assert row["cost_nano_usd"] == row["estimate_nano_usd"] > 0
    over = {row["call_id"]: row["cost_nano_usd"] for row in ledger.calls()}
    assert sum(over.values()) == sum(row["cost_nano_usd"] for key, row in rows.items() if key[0] in over)
    assert killed or {key[0] for key in rows} <= over.keys()
    until = time.monotonic() + fleet.deadline + GRACE + 15
    while (counted := answer(state.spent(KEY, window=WINDOW)))[1] and time.monotonic() < until:
        time.sleep(0.05)
    assert counted == (spent, 0), told
    state.close()
    ledger.close()
    return told


def ask_once_more(state: RedisState, ledger: Ledger, file: Path, *, deadline: float) -> None:
    """A call through a gateway that has just begun: a state that knows nothing asks the books."""
    bills = Bills(file, takes=0.0)
    gateway = Spending(state="", ledger="", cap=CAP, deadline=deadline).gateway(bills, state, ledger)
    with suppress(*DENIED):
        gateway.complete("fast", QUESTION, max_tokens=MOST_OUTPUT)
    bills.close()


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda one: one.__name__)
def test_a_fleet_never_overspends(
    fresh_redis: RedisServer, tmp_path: Path, trouble: Callable[[Scene], None], fleet: Fleet
) -> None:
    spends(fleet, trouble, fresh_redis, f"sqlite:///{tmp_path}/books.db", tmp_path)


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_fleet_with_its_books_in_postgresql_never_overspends(
    fresh_redis: RedisServer, postgres_url: str, tmp_path: Path, fleet: Fleet
) -> None:
    spends(fleet, half_are_killed, fresh_redis, postgres_url, tmp_path)


def spends(
    fleet: Fleet, trouble: Callable[[Scene], None], redis: RedisServer, ledger: str, directory: Path
) -> None:
    open_ledger(ledger).close()
    files = [directory / f"bills-{number}" for number in range(fleet.processes)]
    with at_work(fleet, redis, ledger, files) as scene:
        until = time.monotonic() + 30
        while not any(file.exists() and file.stat().st_size for file in files):
            assert time.monotonic() < until, "nobody spends"
            time.sleep(0.01)
        time.sleep(0.2)  # a part is spent, a part is held
        trouble(scene)
    left = scene.replicas[-1] if scene.replicas else redis
    try:
        told = check_at_rest(fleet, left, ledger, files, killed=trouble is half_are_killed)
    finally:
        for replica in scene.replicas:
            replica.close()
    print(f"{trouble.__name__}: {told}")
