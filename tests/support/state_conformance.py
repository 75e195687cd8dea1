"""What every implementation of `State` must do, told once.

Subclass `StateConformance`, give it a `state` and a `clock` fixture, and pytest does the
rest. Answers may be pending: `settled` waits for them.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from llmgate_plugins.services import Grant, Lease, Refusal, Reservation, State

__all__ = ["DAY", "ManualClock", "StateConformance", "hold", "run_together", "settled"]

DAY = 86_400.0
START = 1_800_000_000.0  # 30,000 seconds before the end of a day


class ManualClock:
    """A clock that goes only when it is told to."""

    def __init__(self, start: float = START) -> None:
        self.wall = start
        self.running = 1_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.running

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds


def settled(answer: Any) -> Any:
    """The answer, waited for if it is on its way."""
    if isinstance(answer, Future):
        return answer.result(timeout=30)
    if inspect.isawaitable(answer):

        async def wait() -> Any:
            return await answer

        return asyncio.run(wait())
    return answer


def hold(
    state: State, key: str, amount: int, limit: int, window: float | None = DAY, ttl: float = 60
) -> Grant | Refusal:
    """Reserve one amount."""
    wanted = Reservation(key=key, amount=amount, limit=limit, window=window)
    answer = settled(state.reserve([wanted], ttl=ttl))
    assert isinstance(answer, Grant | Refusal)
    return answer


def lease_of(answer: Grant | Refusal) -> Lease:
    assert isinstance(answer, Grant), answer
    return answer.lease


def run_together(works: Sequence[Callable[[], None]]) -> None:
    """Run them in threads that take turns as often as Python can."""
    workers = [threading.Thread(target=work) for work in works]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)


class StateConformance:
    """Subclass it; fixtures: `clock` with `advance(seconds)`, and `state` reading that clock."""

    def settle(self, state: State, lease: Lease, actual: Mapping[str, int]) -> bool:
        answer = settled(state.settle(lease, actual))
        assert isinstance(answer, bool)
        return answer

    # ------------------------------------------------------------ limits

    def test_what_fits_is_held_until_it_is_settled(self, state: State, clock: ManualClock) -> None:
        grant = hold(state, "budget", 60, 100, ttl=30)
        assert isinstance(grant, Grant)
        assert grant.expires == pytest.approx(clock.time() + 30, abs=0.01)
        assert settled(state.spent("budget", window=DAY)) == (0, 60)
        assert self.settle(state, grant.lease, {"budget": 45})
        assert settled(state.spent("budget", window=DAY)) == (45, 0)

    def test_a_limit_may_be_reached_and_not_passed(self, state: State) -> None:
        lease_of(hold(state, "budget", 60, 100))
        lease_of(hold(state, "budget", 40, 100))
        refusal = hold(state, "budget", 1, 100)
        assert isinstance(refusal, Refusal)
        assert (refusal.key, refusal.available) == ("budget", 0)

    def test_a_refusal_tells_what_is_left_and_when_the_window_ends(
        self, state: State, clock: ManualClock
    ) -> None:
        lease_of(hold(state, "tpm", 70, 100, window=60))
        refusal = hold(state, "tpm", 31, 100, window=60)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 30
        assert refusal.retry_at == (clock.time() // 60 + 1) * 60

    def test_a_limit_that_never_resets_has_no_time_to_retry(self, state: State) -> None:
        lease_of(hold(state, "slots", 2, 2, window=None))
        refusal = hold(state, "slots", 1, 2, window=None)
        assert isinstance(refusal, Refusal)
        assert refusal.retry_at is None

    def test_all_or_none_is_held_and_the_first_limit_that_refuses_is_named(self, state: State) -> None:
        wanted = [
            Reservation(key="wide", amount=5, limit=100, window=DAY),
            Reservation(key="narrow", amount=5, limit=4, window=DAY),
            Reservation(key="none", amount=5, limit=0, window=DAY),
        ]
        refusal = settled(state.reserve(wanted, ttl=60))
        assert isinstance(refusal, Refusal)
        assert (refusal.key, refusal.available) == ("narrow", 4)
        assert settled(state.spent("wide", window=DAY)) == (0, 0)

    def test_one_limit_named_twice_is_counted_together(self, state: State) -> None:
        twice = [Reservation(key="budget", amount=6, limit=10, window=DAY)] * 2
        refusal = settled(state.reserve(twice, ttl=60))
        assert isinstance(refusal, Refusal)
        assert refusal.available == 10
        grant = settled(
            state.reserve([Reservation(key="budget", amount=5, limit=10, window=DAY)] * 2, ttl=60)
        )
        assert settled(state.spent("budget", window=DAY)) == (0, 10)
        assert self.settle(state, lease_of(grant), {"budget": 7})
        assert settled(state.spent("budget", window=DAY)) == (7, 0)

    def test_nothing_at_all_can_be_reserved(self, state: State) -> None:
        grant = settled(state.reserve([], ttl=60))
        assert self.settle(state, lease_of(grant), {})
        assert not self.settle(state, lease_of(grant), {})

    def test_a_lease_settles_once(self, state: State) -> None:
        lease = lease_of(hold(state, "budget", 60, 100))
        assert self.settle(state, lease, {"budget": 10})
        assert not self.settle(state, lease, {"budget": 10})
        assert not settled(state.release(lease))
        assert settled(state.spent("budget", window=DAY)) == (10, 0)

    def test_a_released_lease_has_spent_nothing_and_cannot_be_settled(self, state: State) -> None:
        lease = lease_of(hold(state, "budget", 60, 100))
        assert settled(state.release(lease))
        assert not self.settle(state, lease, {"budget": 10})
        assert not settled(state.release(lease))
        assert settled(state.spent("budget", window=DAY)) == (0, 0)

    def test_a_key_that_the_settlement_leaves_out_has_spent_nothing(self, state: State) -> None:
        lease = lease_of(hold(state, "budget", 60, 100))
        assert self.settle(state, lease, {"something else": 5})
        assert settled(state.spent("budget", window=DAY)) == (0, 0)

    def test_spending_more_than_was_held_is_booked_in_full(self, state: State) -> None:
        lease = lease_of(hold(state, "budget", 60, 100))
        assert self.settle(state, lease, {"budget": 130})
        assert settled(state.spent("budget", window=DAY)) == (130, 0)
        refusal = hold(state, "budget", 0, 100)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 0

    def test_concurrency_is_held_and_never_spent(self, state: State) -> None:
        lease = lease_of(hold(state, "slots", 1, 1, window=None))
        assert settled(state.spent("slots")) == (0, 1)
        assert self.settle(state, lease, {"slots": 1})
        assert settled(state.spent("slots")) == (0, 0)
        lease_of(hold(state, "slots", 1, 1, window=None))

    def test_a_key_is_limited_in_each_of_its_windows(self, state: State) -> None:
        wanted = [
            Reservation(key="requests", amount=1, limit=1, window=60.0),
            Reservation(key="requests", amount=1, limit=9, window=DAY),
        ]
        lease = lease_of(settled(state.reserve(wanted, ttl=60)))
        assert self.settle(state, lease, {"requests": 1})
        assert settled(state.spent("requests", window=60.0)) == (1, 0)
        assert settled(state.spent("requests", window=DAY)) == (1, 0)

    @pytest.mark.parametrize("key", ["", "a b\n{c}:d*", "日本語🙂", "x" * 5_000])
    def test_a_key_is_free_text(self, state: State, key: str) -> None:
        lease = lease_of(hold(state, key, 3, 10))
        assert self.settle(state, lease, {key: 2})
        assert settled(state.spent(key, window=DAY)) == (2, 0)

    def test_large_amounts_are_exact(self, state: State) -> None:
        large = 2**53 + 1
        lease = lease_of(hold(state, "budget", large, 2**60))
        assert self.settle(state, lease, {"budget": large})
        assert settled(state.spent("budget", window=DAY)) == (large, 0)

    @pytest.mark.parametrize(
        ("amount", "window", "ttl"), [(-1, 60.0, 60), (1, 0.0, 60), (1, -60.0, 60), (1, 60.0, 0)]
    )
    def test_amounts_windows_and_times_that_make_no_sense_are_refused(
        self, state: State, amount: int, window: float, ttl: float
    ) -> None:
        fine = Reservation(key="fine", amount=1, limit=10, window=DAY)
        wrong = Reservation(key="wrong", amount=amount, limit=10, window=window)
        with pytest.raises(ValueError, match=r"0|above"):
            settled(state.reserve([fine, wrong], ttl=ttl))
        assert settled(state.spent("fine", window=DAY)) == (0, 0)

    def test_a_negative_settlement_is_refused_and_the_lease_stays_open(self, state: State) -> None:
        lease = lease_of(hold(state, "budget", 5, 10))
        with pytest.raises(ValueError, match="budget"):
            settled(state.settle(lease, {"budget": -1}))
        assert self.settle(state, lease, {"budget": 1})

    # ------------------------------------------------------------ time

    def test_a_lease_expires_and_gives_back_what_it_held(self, state: State, clock: ManualClock) -> None:
        lease_of(hold(state, "slots", 1, 1, window=None, ttl=10))
        clock.advance(9)
        assert isinstance(hold(state, "slots", 1, 1, window=None), Refusal)
        clock.advance(2)
        assert settled(state.spent("slots")) == (0, 0)
        lease_of(hold(state, "slots", 1, 1, window=None))

    def test_an_expired_lease_still_books_what_was_spent_once(self, state: State, clock: ManualClock) -> None:
        lease = lease_of(hold(state, "budget", 60, 100, ttl=10))
        clock.advance(20)
        assert settled(state.spent("budget", window=DAY)) == (0, 0)
        assert self.settle(state, lease, {"budget": 45})
        assert not self.settle(state, lease, {"budget": 45})
        assert settled(state.spent("budget", window=DAY)) == (45, 0)

    def test_a_new_window_starts_at_zero(self, state: State, clock: ManualClock) -> None:
        lease = lease_of(hold(state, "tpm", 100, 100, window=60))
        assert self.settle(state, lease, {"tpm": 100})
        clock.advance(60)
        assert settled(state.spent("tpm", window=60)) == (0, 0)
        lease_of(hold(state, "tpm", 100, 100, window=60))

    def test_windows_are_aligned_to_the_epoch_and_half_open(self, state: State, clock: ManualClock) -> None:
        clock.advance(60 - clock.time() % 60 - 1)
        assert self.settle(state, lease_of(hold(state, "tpm", 10, 10, window=60)), {"tpm": 10})
        assert isinstance(hold(state, "tpm", 1, 10, window=60), Refusal)
        clock.advance(1)
        lease_of(hold(state, "tpm", 10, 10, window=60))

    def test_a_call_belongs_to_the_window_of_its_reserve(self, state: State, clock: ManualClock) -> None:
        lease = lease_of(hold(state, "tpm", 80, 100, window=60, ttl=600))
        clock.advance(60)
        assert settled(state.spent("tpm", window=60)) == (0, 0)
        new = lease_of(hold(state, "tpm", 100, 100, window=60, ttl=600))
        assert self.settle(state, lease, {"tpm": 80})
        assert settled(state.spent("tpm", window=60)) == (0, 100)
        assert self.settle(state, new, {"tpm": 30})
        assert settled(state.spent("tpm", window=60)) == (30, 0)

    # ------------------------------------------------------------ values and counters

    def test_a_value_is_kept_replaced_and_forgotten(self, state: State) -> None:
        assert settled(state.get("answer")) is None
        settled(state.put("answer", b"\x00\xff"))
        assert settled(state.get("answer")) == b"\x00\xff"
        settled(state.put("answer", b""))
        assert settled(state.get("answer")) == b""
        assert settled(state.delete("answer"))
        assert not settled(state.delete("answer"))
        assert settled(state.get("answer")) is None

    def test_a_value_ends_with_its_ttl_which_a_new_value_replaces(
        self, state: State, clock: ManualClock
    ) -> None:
        settled(state.put("short", b"1", ttl=10))
        settled(state.put("kept", b"1", ttl=10))
        settled(state.put("kept", b"2"))
        clock.advance(11)
        assert settled(state.get("short")) is None
        assert not settled(state.delete("short"))
        assert settled(state.get("kept")) == b"2"

    def test_a_counter_counts_and_its_ttl_runs_from_the_first_use(
        self, state: State, clock: ManualClock
    ) -> None:
        assert settled(state.add("failures", ttl=10)) == 1
        clock.advance(6)
        assert settled(state.add("failures", 4, ttl=10)) == 5
        assert settled(state.add("failures", -2, ttl=10)) == 3
        clock.advance(6)
        assert settled(state.add("failures", ttl=10)) == 1

    def test_a_counter_without_ttl_stays(self, state: State, clock: ManualClock) -> None:
        settled(state.add("calls", 2))
        clock.advance(10 * DAY)
        assert settled(state.add("calls")) == 3

    def test_values_and_counters_do_not_share_keys(self, state: State) -> None:
        settled(state.put("x", b"text"))
        assert settled(state.add("x")) == 1
        assert settled(state.get("x")) == b"text"

    # ------------------------------------------------------------ many at once

    def test_threads_together_never_pass_a_limit_and_lose_no_booking(self, state: State) -> None:
        limit, threads, rounds = 40, 8, 60
        over: list[tuple[int, int]] = []
        booked: list[int] = []

        def work(seed: int) -> None:
            for turn in range(rounds):
                amount = (seed * 7 + turn * 3) % 5 + 1
                grant = hold(state, "budget", amount, limit * 10)
                slot = hold(state, "slots", amount, limit // 4, window=None)
                spent, held = settled(state.spent("slots"))
                if spent + held > limit // 4:
                    over.append((spent, held))
                if isinstance(grant, Grant) and self.settle(state, grant.lease, {"budget": amount - 1}):
                    booked.append(amount - 1)
                if isinstance(slot, Grant):
                    settled(state.release(slot.lease))

        run_together([partial(work, seed) for seed in range(threads)])
        assert over == []
        assert settled(state.spent("slots")) == (0, 0)
        assert settled(state.spent("budget", window=DAY)) == (sum(booked), 0)
        assert sum(booked) <= limit * 10

    def test_two_threads_cannot_both_settle_a_lease(self, state: State) -> None:
        leases = [lease_of(hold(state, "budget", 1, 1_000)) for _ in range(50)]
        won: list[bool] = []

        def work() -> None:
            won.extend(self.settle(state, lease, {"budget": 1}) for lease in leases)

        run_together([work] * 4)
        assert sum(won) == 50
        assert settled(state.spent("budget", window=DAY)) == (50, 0)
