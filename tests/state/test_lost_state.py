"""A server that was emptied, started again or replaced: nothing is spent twice, and nothing for free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.servers import BadLine, RedisServer
from support.state_conformance import ask_seeded, hold, lease_of, settled

from llmgate_plugins.services import Grant, Lease, Refusal, Reservation, Seed, Unseeded
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.windows import Calendar, Rolling

Connect = Callable[..., RedisState]
YEAR = Calendar("year", "Europe/Berlin")
WINDOWS = [YEAR, Rolling(86_400), 366 * 86_400.0]


def start_of(answer: object) -> float:
    assert isinstance(answer, Unseeded), answer
    return answer.windows[0][1]


@pytest.fixture
def state(own_server: RedisServer, connect: Connect) -> RedisState:
    return connect(f"{own_server.url}?timeout=2s")


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_after_a_flush_windows_are_unseeded_and_known_again_once_seeded(
    own_server: RedisServer, state: RedisState, window: Calendar | Rolling | float
) -> None:
    start = start_of(ask_seeded(state, "budget", window=window))
    settled(state.seed([Seed(key="budget", window=window, start=start, spent=((time.time(), 40),))]))
    lease = lease_of(ask_seeded(state, "budget", 10, window=window))
    settled(state.settle(lease, {"budget": 10}))
    own_server.flush()
    before = time.time()
    answer = ask_seeded(state, "budget", window=window)
    assert isinstance(answer, Unseeded)
    assert answer.since >= before - 0.1, "nothing that happened before may be concluded from the books alone"
    settled(
        state.seed([Seed(key="budget", window=window, start=start_of(answer), spent=((time.time(), 50),))])
    )
    grant = ask_seeded(state, "budget", 50, window=window)
    assert isinstance(grant, Grant)
    assert (grant.levels[0].spent, grant.levels[0].held) == (50, 50)


def test_a_lease_from_before_a_flush_is_held_again_and_settled_by_its_owner(
    own_server: RedisServer, state: RedisState
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100, window=YEAR, id="call:1"))
    own_server.flush()
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    held = {"call:1": (30, 5, time.time() + 60)}
    settled(state.seed([Seed(key="budget", window=YEAR, start=start, open=held)]))
    assert settled(state.spent("budget", window=YEAR)) == (0, 30)
    assert settled(state.settle(lease, {"budget": 20}))
    assert not settled(state.settle(lease, {"budget": 20}))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)


def test_a_lease_settled_after_a_flush_counts_until_the_books_say_it_themselves(
    own_server: RedisServer, state: RedisState
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100, window=YEAR, id="call:1"))
    own_server.flush()
    assert settled(state.settle(lease, {"budget": 20}))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start, spent=((time.time(), 20),))]))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)


def test_a_lease_settled_while_the_books_were_read_counts_once(
    own_server: RedisServer, state: RedisState
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100, window=YEAR, id="call:1"))
    own_server.flush()
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    held_when_read = {"call:1": (30, 5, time.time() + 60)}
    assert settled(state.settle(lease, {"budget": 20}))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start, open=held_when_read)]))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)


@pytest.mark.parametrize("second", WINDOWS, ids=str)
def test_a_lease_settled_between_two_seeds_counts_once_in_each_window(
    own_server: RedisServer, state: RedisState, second: Calendar | Rolling | float
) -> None:
    wanted = [
        Reservation(key="team", amount=30, limit=100, window=YEAR, seed=True),
        Reservation(key="tenant", amount=30, limit=100, window=second, seed=True),
    ]
    asked = settled(state.reserve(wanted, ttl=60, id="call:1"))
    settled(state.seed([Seed(key=one.key, window=one.window, start=at) for one, at, _ in asked.windows]))
    lease = lease_of(settled(state.reserve(wanted, ttl=60, id="call:1")))
    own_server.flush()
    asked = settled(state.reserve(wanted, ttl=60, id="call:2"))
    held_when_read = {"call:1": (30, 5, time.time() + 60)}
    seeds = [
        Seed(key=one.key, window=one.window, start=start, open=held_when_read)
        for one, start, _ in asked.windows
    ]
    settled(state.seed(seeds[:1]))
    assert settled(state.settle(lease, {"team": 20, "tenant": 20}))
    settled(state.seed(seeds[1:]))
    assert not settled(state.settle(Lease("call:1", lease.reservations), {"team": 20, "tenant": 20}))
    assert settled(state.spent("team", window=YEAR)) == (20, 0)
    assert settled(state.spent("tenant", window=second)) == (20, 0)


def test_a_lease_of_the_books_that_is_asked_for_again_is_held_where_it_was_not(
    own_server: RedisServer, state: RedisState
) -> None:
    wanted = [
        Reservation(key=key, amount=30, limit=100, window=YEAR, seed=True) for key in ("team", "tenant")
    ]
    own_server.flush()
    asked = settled(state.reserve(wanted, ttl=60, id="other"))
    team, tenant = (Seed(key=one.key, window=one.window, start=at) for one, at, _ in asked.windows)
    there = replace(team, open={"call:1": (30, 5, time.time() + 60)})
    settled(state.seed([there, replace(tenant, spent=((time.time(), 80),))]))
    refused = settled(state.reserve(wanted, ttl=60, id="call:1"))
    assert isinstance(refused, Refusal)
    assert (refused.key, refused.available) == ("tenant", 20)
    wanted[1] = replace(wanted[1], amount=15)
    lease = lease_of(settled(state.reserve(wanted, ttl=60, id="call:1")))
    assert settled(state.spent("team", window=YEAR)) == (0, 30)
    assert settled(state.spent("tenant", window=YEAR)) == (80, 15)
    assert settled(state.settle(lease, {"team": 7, "tenant": 7}))
    assert settled(state.spent("team", window=YEAR)) == (7, 0)
    assert settled(state.spent("tenant", window=YEAR)) == (87, 0)


def test_a_lease_that_the_books_had_as_settled_adds_nothing(
    own_server: RedisServer, state: RedisState
) -> None:
    lease = lease_of(hold(state, "budget", 30, 100, window=YEAR, id="call:1"))
    own_server.flush()
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start, spent=((time.time(), 20),))]))
    settled(state.settle(lease, {"budget": 20}))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)


@pytest.mark.parametrize("keep", [True, False], ids=["with its data", "without its data"])
def test_after_a_restart_the_books_are_asked_even_if_the_data_is_there(
    own_server: RedisServer, state: RedisState, keep: bool
) -> None:
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start)]))
    lease_of(ask_seeded(state, "budget", 10, window=YEAR))
    own_server.stop(keep=keep)
    own_server.start()
    assert isinstance(ask_seeded(state, "budget", window=YEAR), Unseeded), "writes may be lost"


def test_a_replica_that_takes_over_is_not_believed(
    own_server: RedisServer, line: BadLine, connect: Connect
) -> None:
    state = connect(f"{line.url}?timeout=2s")
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start)]))
    lease = lease_of(ask_seeded(state, "budget", 10, window=YEAR))
    replica = own_server.replica()
    try:
        replica.promote()
        line.lead_to(replica)
        assert isinstance(ask_seeded(state, "budget", window=YEAR), Unseeded)
        start = start_of(ask_seeded(state, "budget", window=YEAR))
        held = {lease.id: (10, 1, time.time() + 60)}
        settled(state.seed([Seed(key="budget", window=YEAR, start=start, open=held)]))
        assert settled(state.settle(lease, {"budget": 7}))
        assert settled(state.spent("budget", window=YEAR)) == (7, 0)
    finally:
        replica.close()


def test_a_replica_is_not_believed_by_the_process_that_began_the_epoch_whoever_names_its_leases(
    own_server: RedisServer, line: BadLine, connect: Connect
) -> None:
    state = connect(f"{line.url}?timeout=2s")
    wanted = [Reservation(key="budget", amount=10, limit=100, window=YEAR, seed=True)]
    start = start_of(settled(state.reserve(wanted, ttl=60, id="call:1")))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start)]))
    lease_of(settled(state.reserve(wanted, ttl=60, id="call:1")))
    replica = own_server.replica()
    try:
        replica.promote()
        line.lead_to(replica)
        assert isinstance(settled(state.reserve(wanted, ttl=60, id="call:2")), Unseeded)
        assert settled(state.spent("budget", window=YEAR)) == (0, 0), "what was replicated counts no more"
    finally:
        replica.close()


def test_a_second_process_that_connects_to_the_same_server_begins_no_new_epoch(
    own_server: RedisServer, state: RedisState, connect: Connect
) -> None:
    start = start_of(ask_seeded(state, "budget", window=YEAR))
    settled(state.seed([Seed(key="budget", window=YEAR, start=start)]))
    other = connect(f"{own_server.url}?timeout=2s")
    lease_of(ask_seeded(other, "budget", 10, window=YEAR))
    lease_of(ask_seeded(state, "budget", 10, window=YEAR))
    assert settled(other.spent("budget", window=YEAR)) == (0, 20)


def test_scripts_that_the_server_forgot_are_loaded_again(own_server: RedisServer, state: RedisState) -> None:
    lease = lease_of(hold(state, "budget", 30, 100))
    own_server.client.script_flush()
    assert settled(state.settle(lease, {"budget": 20}))
    own_server.client.script_flush()
    assert settled(state.add("count", ttl=60)) == 1
    own_server.client.script_flush()
    assert settled(state.spent("budget", window=86_400)) == (20, 0)


def test_an_answer_that_was_lost_is_asked_for_again_and_nothing_is_held_twice(
    own_server: RedisServer, line: BadLine, connect: Connect
) -> None:
    state = connect(f"{line.url}?timeout=5s")
    lease_of(hold(state, "warm", 1, 1))
    line.delay = 0.2
    wanted = [Reservation(key="budget", amount=30, limit=100, window=YEAR)]

    def cut_when_it_has_arrived() -> None:
        end = time.monotonic() + 5
        while not own_server.client.keys("*budget*") and time.monotonic() < end:
            time.sleep(0.002)
        line.delay = 0.0
        line.lead_to(own_server)  # cuts what is open, and lets whoever comes again through

    cutter = threading.Thread(target=cut_when_it_has_arrived)
    cutter.start()
    grant = settled(state.reserve(wanted, ttl=60, id="call:1"))
    cutter.join()
    assert isinstance(grant, Grant)
    assert settled(state.spent("budget", window=YEAR)) == (0, 30)
    assert settled(state.settle(grant.lease, {"budget": 20}))
    assert settled(state.spent("budget", window=YEAR)) == (20, 0)


def test_a_connection_that_the_server_closed_while_it_rested_loses_no_count(
    own_server: RedisServer, state: RedisState
) -> None:
    assert settled(state.add("count")) == 1
    own_server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(1.1)
    assert settled(state.add("count")) == 2
