"""Many threads, tasks and processes on one state: no limit is passed, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support.patience import until
from support.server_clock import ServerClock
from support.servers import RedisServer
from support.state_conformance import DAY, ManualClock, hold, lease_of, run_together, settled

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Grant, Reservation
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.windows import Calendar

Opened = Callable[..., RedisState]
Connect = Callable[..., RedisState]

# Holds 7 at a time and spends 5, eight threads at once; tells how much it spent.
SPENDER = """
import sys, threading, time
from llmgate_plugins.services import Grant, Reservation
from llmgate_plugins.state import open_state

url, limit = sys.argv[1], int(sys.argv[2])
state, spent = open_state(url), []
wanted = [Reservation(key="budget", amount=7, limit=limit, window=366 * 86400.0, estimate=5)]

def work():
    for _ in range(25):
        grant = state.reserve(wanted, ttl=60)
        if isinstance(grant, Grant):
            state.settle(grant.lease, {"budget": 5})
            spent.append(5)

threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
state.close()
print(sum(spent))
"""

# Takes one lease, says so, and hangs.
HOLDER = """
import sys, time
from llmgate_plugins.services import Reservation
from llmgate_plugins.state import open_state

state = open_state(sys.argv[1])
state.reserve([Reservation(key="budget", amount=30, limit=100, window=366 * 86400.0, estimate=12)], ttl=0.3)
print("held", flush=True)
time.sleep(60)
"""


def run(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def test_processes_of_many_threads_never_pass_a_limit(server: RedisServer, opened: Opened) -> None:
    state = opened()
    url = f"{server.url}?namespace={namespace(state)}&timeout=10s"
    limit = 1_003
    processes = [run(SPENDER, url, str(limit)) for _ in range(3)]
    over: list[tuple[int, int]] = []
    while any(process.poll() is None for process in processes):
        spent, held = settled(state.spent("budget", window=366 * DAY))
        if spent + held > limit:
            over.append((spent, held))
        time.sleep(0.005)
    told = sum(int(process.communicate()[0]) for process in processes)
    assert over == []
    assert settled(state.spent("budget", window=366 * DAY)) == (told, 0)
    assert limit - 7 < told <= limit, "what is left does not hold one more"


def test_what_a_killed_process_held_counts_at_its_estimate(server: RedisServer, opened: Opened) -> None:
    state = opened()
    holder = run(HOLDER, f"{server.url}?namespace={namespace(state)}&timeout=10s")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    until(lambda: settled(state.spent("budget", window=366 * DAY)) == (12, 0))


def test_a_fork_has_a_connection_and_ids_of_its_own(opened: Opened) -> None:
    state = opened()
    lease = lease_of(hold(state, "budget", 10, 100))
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = lease_of(hold(state, "budget", 20, 100))
            settled(state.settle(lease, {"budget": 7}))
            os.write(into, mine.id.encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as told:
        theirs = told.read()
    os.waitpid(child, 0)
    own = lease_of(hold(state, "budget", 30, 100))
    assert theirs
    assert own.id != theirs
    assert settled(state.spent("budget", window=DAY)) == (7, 50)


def test_in_an_event_loop_answers_are_pending_and_the_loop_goes_on(opened: Opened) -> None:
    state = opened()
    wanted = [Reservation(key="budget", amount=1, limit=1_000, window=DAY)]

    async def many() -> list[Any]:
        answers = [state.reserve(wanted, ttl=60) for _ in range(50)]
        assert all(isinstance(one, Future) for one in answers)
        return list(await asyncio.gather(*map(asyncio.wrap_future, answers)))  # type: ignore[arg-type]

    grants = asyncio.run(many())
    assert {grant.levels[0].held for grant in grants} == set(range(1, 51))
    grants = asyncio.run(many())  # in another loop
    assert settled(state.spent("budget", window=DAY)) == (0, 100)


def test_elsewhere_answers_are_there_and_nothing_waits_in_a_thread(opened: Opened) -> None:
    state = opened()
    assert isinstance(hold(state, "budget", 1, 10), Grant)
    assert state.spent("budget", window=DAY) == (0, 1)
    assert state.line._thread is None


def test_a_caller_that_leaves_its_answer_behind_disturbs_nobody(opened: Opened) -> None:
    state = opened()

    async def leave() -> None:
        answer = asyncio.ensure_future(
            asyncio.wrap_future(state.reserve([Reservation(key="a", amount=1, limit=9)], ttl=60))  # type: ignore[arg-type]
        )
        await asyncio.sleep(0)
        answer.cancel()
        await asyncio.sleep(0.05)
        assert await asyncio.wrap_future(state.spent("b")) == (0, 0)  # type: ignore[arg-type]

    asyncio.run(leave())
    assert settled(state.add("count")) == 1


def test_threads_and_tasks_together_each_get_their_own_answer(opened: Opened) -> None:
    state = opened()
    wrong: list[object] = []

    def in_a_thread(number: int) -> None:
        for turn in range(40):
            settled(state.put(f"{number}", f"{number}.{turn}".encode()))
            if settled(state.get(f"{number}")) != f"{number}.{turn}".encode():
                wrong.append(number)

    async def in_a_task(number: int) -> None:
        for turn in range(20):
            await asyncio.wrap_future(state.put(f"{number}", f"{number}.{turn}".encode()))  # type: ignore[arg-type]
            if await asyncio.wrap_future(state.get(f"{number}")) != f"{number}.{turn}".encode():  # type: ignore[arg-type]
                wrong.append(number)

    async def tasks(first: int) -> None:
        await asyncio.gather(*(in_a_task(number) for number in range(first, first + 8)))

    works = [lambda n=n: in_a_thread(n) for n in range(6)]
    run_together([*works, lambda: asyncio.run(tasks(100)), lambda: asyncio.run(tasks(200))])
    assert wrong == []


@pytest.mark.parametrize("hours", [-1, 1, 30])
def test_the_clock_of_a_process_does_not_matter(server: RedisServer, opened: Opened, hours: int) -> None:
    clock = ManualClock(time.time() + hours * 3600)
    state = opened(clock=clock)
    for window in (Calendar("hour", "Asia/Kathmandu"), Calendar("day", "Europe/Berlin"), 3600.0):
        grant = hold(state, "budget", 1, 10, window=window)
        assert isinstance(grant, Grant)
        ends = grant.levels[0].resets_at
        seconds = server.client.time()[0]  # type: ignore[index]
        assert ends is not None
        assert 0 < ends - seconds <= 86_400 + 3600
        if isinstance(window, Calendar):
            assert window.bounds(seconds)[1] == ends


def test_keys_follow_what_is_held_and_the_windows_not_the_number_of_calls(
    server: RedisServer, opened: Opened
) -> None:
    state = opened()
    space = namespace(state)

    def calls(count: int) -> int:
        for number in range(count):
            wanted = [
                # Not strict: of limits in use for a second something would be set aside.
                Reservation(key=f"user:{number % 5}", amount=1, limit=10**6, window=DAY, strict=False),
                Reservation(key="slots", amount=1, limit=10),
            ]
            settled(state.settle(lease_of(settled(state.reserve(wanted, ttl=60))), {"user": 1}))
        return len(server.client.keys(f"*:{space}*"))  # type: ignore[arg-type]

    assert calls(100) == calls(400)
    for key in server.client.keys(f"*:{space}*"):  # type: ignore[union-attr]
        assert server.client.pttl(key) > 0 or key.endswith(b":epoch")  # type: ignore[operator]


def test_limits_that_are_no_longer_used_are_forgotten(opened: Opened) -> None:
    clock = ManualClock(time.time())
    state = opened(clock=clock, server_time=clock.time)
    for number in range(1_200):
        state.aside.wanted(
            [Reservation(key=f"user:{number}", amount=1, limit=1_000, window=60.0)], state.now()
        )
    settled(state.spent("anything"))
    clock.advance(60)
    until(lambda: not state.aside._slices._uses)


@pytest.mark.campaign
def test_memory_of_the_server_is_flat_over_many_calls(server: RedisServer, opened: Opened) -> None:
    state = opened()

    def used_after(count: int) -> int:
        for number in range(count):
            settled(state.settle(lease_of(hold(state, f"user:{number % 50}", 1, 10**9)), {}))
        server.client.execute_command("MEMORY", "PURGE")
        memory: dict[str, int] = server.client.info("memory")  # type: ignore[assignment]
        return memory["used_memory"]

    before = used_after(2_000)
    assert used_after(200_000) - before < 200_000


def test_expired_leases_and_their_windows_leave_nothing_behind(server: RedisServer, connect: Connect) -> None:
    clock = ServerClock(server)
    state = connect(f"{server.url}?namespace=ends&timeout=2s", clock=clock, server_time=clock.time)
    for number in range(40):
        wanted = [
            Reservation(key=f"a{number}", amount=1, limit=9, window=60, estimate=1),
            Reservation(key=f"b{number}", amount=1, limit=9),
        ]
        lease_of(settled(state.reserve(wanted, ttl=5)))
    clock.advance(30)
    settled(state.spent("anything"))
    assert settled(state.spent("a3", window=60)) == (1, 0)
    clock.advance(3 * DAY)
    assert len(server.client.keys("*:ends*")) == 1, "the epoch"  # type: ignore[arg-type]


def test_a_closed_state_has_no_thread_no_socket_and_says_so(server: RedisServer, connect: Connect) -> None:
    threads, files = threading.active_count(), open_files()
    for _ in range(5):
        state = connect(f"{server.url}?namespace=closing&timeout=2s")
        settled(state.put("a", b"1"))
        asyncio.run(in_a_loop(state))
        state.close()
        with pytest.raises(StorageError, match="is closed"):
            settled(state.spent("a"))
    # Fewer, if something of an earlier test has ended meanwhile.
    until(lambda: threading.active_count() <= threads and open_files() <= files)


def test_a_state_that_nobody_has_any_more_ends_its_thread(server: RedisServer) -> None:
    state = RedisState(f"{server.url}?namespace=gone&timeout=2s")
    asyncio.run(in_a_loop(state))
    thread = state.line._thread
    assert thread is not None
    assert thread.is_alive()
    del state
    thread.join(30)
    assert not thread.is_alive()


async def in_a_loop(state: RedisState) -> None:
    await asyncio.wrap_future(state.get("a"))  # type: ignore[arg-type]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def namespace(state: RedisState) -> str:
    return state.epoch_key.removeprefix("{llmgate:").removesuffix("}:epoch")
