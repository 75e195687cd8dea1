"""The state of one process: the shared rules, its memory, and its clock."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from support.state_conformance import DAY, ManualClock, StateConformance, hold, run_together

from llmgate_plugins.services import Grant, Lease, Refusal, Reservation
from llmgate_plugins.state import MemoryState, open_state


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(clock: ManualClock) -> MemoryState:
    return MemoryState(clock)


class TestMemoryState(StateConformance):
    """Every rule of `State`."""


def test_an_equal_lease_of_another_state_changes_nothing(state: MemoryState) -> None:
    assert isinstance(hold(state, "budget", 5, 10), Grant)
    stranger = Lease(id="stranger", reservations=(Reservation(key="budget", amount=5, limit=10, window=DAY),))
    assert not state.settle(stranger, {"budget": 5})
    assert not state.release(stranger)
    assert state.spent("budget", window=DAY) == (0, 5)


def test_lease_ids_are_unique_among_states(clock: ManualClock) -> None:
    ids = set()
    for _ in range(20):
        grant = hold(MemoryState(clock), "x", 1, 1)
        assert isinstance(grant, Grant)
        ids.add(grant.lease.id)
    assert len(ids) == 20


def test_a_wall_clock_set_back_grants_no_window_twice(state: MemoryState, clock: ManualClock) -> None:
    clock.wall = 6_000.0
    grant = hold(state, "tpm", 10, 10, window=60)
    assert isinstance(grant, Grant)
    assert state.settle(grant.lease, {"tpm": 10})
    clock.wall = 6_060.0
    assert isinstance(hold(state, "other", 1, 1, window=60), Grant)
    clock.wall = 6_001.0
    assert isinstance(hold(state, "tpm", 10, 10, window=60), Grant), "the new window is open already"
    refusal = hold(state, "tpm", 1, 10, window=60)
    assert isinstance(refusal, Refusal)
    assert refusal.retry_at == 6_120.0
    assert isinstance(hold(state, "other", 1, 1, window=60), Refusal)


def test_a_wall_clock_set_forward_ends_no_lease(state: MemoryState, clock: ManualClock) -> None:
    assert isinstance(hold(state, "slots", 1, 1, window=None, ttl=10), Grant)
    clock.wall += 3_600
    assert isinstance(hold(state, "slots", 1, 1, window=None, ttl=10), Refusal)


@pytest.mark.parametrize("window", [0.1, 0.3, 1 / 3, 1e-3, 7.0, 1e9])
def test_the_window_of_now_always_ends_after_now(
    state: MemoryState, clock: ManualClock, window: float
) -> None:
    for _ in range(500):
        clock.advance(window * 0.999)
        hold(state, "k", 1, 0, window=window)
        refusal = hold(state, "k", 1, 0, window=window)
        assert isinstance(refusal, Refusal)
        assert refusal.retry_at is not None
        assert clock.time() < refusal.retry_at <= clock.time() + window * 1.01


def test_memory_does_not_grow_with_the_number_of_calls(state: MemoryState, clock: ManualClock) -> None:
    def calls(count: int) -> None:
        for number in range(count):
            clock.advance(0.5)
            grant = state.reserve(
                (
                    Reservation(key=f"user:{number}", amount=1, limit=5, window=60.0),
                    Reservation(key=f"slots:{number}", amount=1, limit=5),
                ),
                ttl=10 + number % 600,
            )
            assert isinstance(grant, Grant)
            if number % 10:
                state.settle(grant.lease, {f"user:{number}": 1})
            state.put(f"value:{number}", b"x", ttl=30)
            state.put("same", b"x", ttl=30 + number % 7)
            state.add(f"count:{number}", ttl=30)

    calls(3_000)
    tracemalloc.start()
    calls(3_000)
    before, _ = tracemalloc.get_traced_memory()
    calls(6_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < 1.6 * before, "three times the calls, and about the same memory"


def test_no_thread_comes_between_the_check_of_a_limit_and_the_hold(state: MemoryState) -> None:
    class SlowLimit(int):
        def __lt__(self, other: int) -> bool:
            time.sleep(0.002)  # lets every other thread look at the same moment
            return int.__lt__(self, other)

    granted: list[bool] = []

    def work() -> None:
        granted.append(isinstance(hold(state, "budget", 1, SlowLimit(3)), Grant))

    run_together([work] * 10)
    assert sum(granted) == 3


def test_memory_does_not_grow_while_nothing_expires(state: MemoryState) -> None:
    wanted = [Reservation(key="budget", amount=1, limit=10, window=DAY)]

    def calls(count: int) -> None:
        for number in range(count):
            grant = state.reserve(wanted, ttl=3_600)
            assert isinstance(grant, Grant)
            state.release(grant.lease)
            state.put("same", b"x", ttl=30 + number)

    calls(500)
    tracemalloc.start()
    calls(20_000)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 100_000


def test_state_is_opened_by_its_name() -> None:
    clock = ManualClock()
    assert isinstance(open_state(), MemoryState)
    assert isinstance(open_state("memory://", clock=clock), MemoryState)
