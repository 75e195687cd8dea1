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

from llmgate_plugins.services import Grant, Lease, Level, Refusal, Reservation, Seed, State, Unseeded
from llmgate_plugins.windows import Calendar, Fixed, Rolling, Window

__all__ = ["DAY", "ManualClock", "StateConformance", "hold", "run_together", "settled"]

DAY = 86_400.0
START = 1_800_000_010.0  # neither a minute nor a day begins here


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
    state: State,
    key: str,
    amount: int,
    limit: int,
    window: Window | float | None = DAY,
    ttl: float = 60,
    estimate: int = 0,
    id: str | None = None,
) -> Grant | Refusal:
    """Reserve one amount."""
    wanted = Reservation(key=key, amount=amount, limit=limit, window=window, estimate=estimate)
    answer = settled(state.reserve([wanted], ttl=ttl, id=id))
    assert isinstance(answer, Grant | Refusal)
    return answer


def ask_seeded(
    state: State, key: str, amount: int = 1, limit: int = 100, window: Window | float | None = DAY
) -> Grant | Refusal | Unseeded:
    """Reserve one amount of a limit that asks for the books' word."""
    wanted = Reservation(key=key, amount=amount, limit=limit, window=window, seed=True)
    answer = settled(state.reserve([wanted], ttl=60))
    assert isinstance(answer, Grant | Refusal | Unseeded)
    return answer


def lease_of(answer: Grant | Refusal | Unseeded) -> Lease:
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

    @pytest.mark.parametrize("limit", [10**15, 10**15 + 1, 2**53, 2**53 + 1, 10**18 + 7, 2**62 + 1])
    def test_large_limits_are_exact_to_the_last_nano_dollar(self, state: State, limit: int) -> None:
        lease = lease_of(hold(state, "budget", limit - 3, limit))
        assert self.settle(state, lease, {"budget": limit - 3})
        lease_of(hold(state, "budget", 1, limit))
        refusal = hold(state, "budget", 3, limit)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 2
        lease_of(hold(state, "budget", 2, limit))
        assert isinstance(hold(state, "budget", 1, limit), Refusal)
        assert settled(state.spent("budget", window=DAY)) == (limit - 3, 3)

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

    # ------------------------------------------------------------ leases by name, and their estimates

    def test_a_lease_is_named_by_who_asks_and_asking_again_holds_nothing_more(self, state: State) -> None:
        first = hold(state, "budget", 60, 100, id="call:1")
        again = hold(state, "budget", 60, 100, id="call:1")
        assert isinstance(first, Grant)
        assert isinstance(again, Grant)
        assert first.lease.id == again.lease.id == "call:1"
        assert again.expires == pytest.approx(first.expires)
        assert again.levels == first.levels
        assert settled(state.spent("budget", window=DAY)) == (0, 60)
        assert self.settle(state, again.lease, {"budget": 10})
        assert not self.settle(state, first.lease, {"budget": 10})
        assert settled(state.spent("budget", window=DAY)) == (10, 0)

    def test_the_name_of_a_settled_lease_may_be_used_again(self, state: State) -> None:
        assert self.settle(state, lease_of(hold(state, "budget", 60, 100, id="call:1")), {"budget": 5})
        lease_of(hold(state, "budget", 60, 100, id="call:1"))
        assert settled(state.spent("budget", window=DAY)) == (5, 60)

    def test_a_lease_is_settled_by_whoever_knows_its_name(self, state: State) -> None:
        grant = hold(state, "budget", 60, 100, id="call:1")
        assert isinstance(grant, Grant)
        assert self.settle(state, Lease(id="call:1", reservations=grant.lease.reservations), {"budget": 7})
        assert not self.settle(state, grant.lease, {"budget": 9})
        assert settled(state.spent("budget", window=DAY)) == (7, 0)

    def test_a_lease_that_nobody_knows_is_not_settled(self, state: State) -> None:
        lease_of(hold(state, "budget", 5, 10))
        wanted = Reservation(key="budget", amount=5, limit=10, window=DAY)
        stranger = Lease(id="stranger", reservations=(wanted,))
        assert settled(state.spent("budget", window=DAY)) == (0, 5)
        settled(state.release(stranger))
        assert settled(state.spent("budget", window=DAY)) == (0, 5)

    def test_an_expired_lease_counts_as_spent_at_its_estimate(self, state: State, clock: ManualClock) -> None:
        lease_of(hold(state, "budget", 60, 100, ttl=10, estimate=25))
        clock.advance(11)
        assert settled(state.spent("budget", window=DAY)) == (25, 0)
        refusal = hold(state, "budget", 76, 100)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 75

    def test_a_late_settlement_takes_the_place_of_the_estimate_once(
        self, state: State, clock: ManualClock
    ) -> None:
        lease = lease_of(hold(state, "budget", 60, 100, ttl=10, estimate=25))
        clock.advance(11)
        assert settled(state.spent("budget", window=DAY)) == (25, 0)
        assert self.settle(state, lease, {"budget": 40})
        assert not self.settle(state, lease, {"budget": 40})
        assert not settled(state.release(lease))
        assert settled(state.spent("budget", window=DAY)) == (40, 0)

    def test_a_late_release_takes_the_estimate_back(self, state: State, clock: ManualClock) -> None:
        lease = lease_of(hold(state, "budget", 60, 100, ttl=10, estimate=25))
        clock.advance(11)
        assert settled(state.release(lease))
        assert settled(state.spent("budget", window=DAY)) == (0, 0)

    def test_an_estimate_is_never_spent_where_only_slots_are_held(
        self, state: State, clock: ManualClock
    ) -> None:
        lease = lease_of(hold(state, "slots", 1, 1, window=None, ttl=10, estimate=1))
        clock.advance(11)
        assert settled(state.spent("slots")) == (0, 0)
        assert self.settle(state, lease, {"slots": 1})
        assert settled(state.spent("slots")) == (0, 0)

    def test_a_settlement_after_the_window_changes_no_later_one(
        self, state: State, clock: ManualClock
    ) -> None:
        clock.advance(60 - clock.time() % 60)
        lease = lease_of(hold(state, "tpm", 60, 100, window=60, ttl=30, estimate=25))
        clock.advance(61)
        lease_of(hold(state, "tpm", 10, 100, window=60))
        assert self.settle(state, lease, {"tpm": 40})
        assert settled(state.spent("tpm", window=60)) == (0, 10)

    # ------------------------------------------------------------ levels, and limits that only report

    def test_a_grant_tells_how_every_limit_stands(self, state: State, clock: ManualClock) -> None:
        assert self.settle(state, lease_of(hold(state, "budget", 60, 100)), {"budget": 30})
        grant = settled(
            state.reserve(
                [
                    Reservation(key="budget", amount=20, limit=100, window=DAY),
                    Reservation(key="slots", amount=1, limit=3),
                ],
                ttl=60,
            )
        )
        assert isinstance(grant, Grant)
        day_ends = (clock.time() // DAY + 1) * DAY
        assert grant.levels == (
            Level(key="budget", spent=30, held=20, limit=100, resets_at=day_ends),
            Level(key="slots", spent=0, held=1, limit=3, resets_at=None),
        )
        assert grant.exceeded == ()

    def test_a_limit_that_is_not_enforced_holds_reports_and_never_refuses(
        self, state: State, clock: ManualClock
    ) -> None:
        soft = Reservation(key="soft", amount=8, limit=10, window=DAY, enforced=False)
        first = settled(state.reserve([soft], ttl=60))
        second = settled(state.reserve([soft], ttl=60))
        assert isinstance(first, Grant)
        assert isinstance(second, Grant)
        assert first.exceeded == ()
        (exceeded,) = second.exceeded
        assert (exceeded.key, exceeded.available) == ("soft", 2)
        assert exceeded.retry_at == (clock.time() // DAY + 1) * DAY
        assert settled(state.spent("soft", window=DAY)) == (0, 16)
        assert self.settle(state, second.lease, {"soft": 30})
        assert settled(state.spent("soft", window=DAY)) == (30, 8)

    def test_where_an_enforced_limit_refuses_one_that_is_not_holds_nothing(self, state: State) -> None:
        wanted = [
            Reservation(key="soft", amount=8, limit=1, window=DAY, enforced=False),
            Reservation(key="hard", amount=8, limit=1, window=DAY),
        ]
        refusal = settled(state.reserve(wanted, ttl=60))
        assert isinstance(refusal, Refusal)
        assert refusal.key == "hard"
        assert settled(state.spent("soft", window=DAY)) == (0, 0)

    # ------------------------------------------------------------ calendar and rolling windows

    def test_a_number_is_a_fixed_window_of_so_many_seconds(self, state: State) -> None:
        lease_of(hold(state, "tpm", 3, 10, window=60))
        lease_of(hold(state, "tpm", 4, 10, window=60.0))
        lease_of(hold(state, "tpm", 2, 10, window=Fixed(60)))
        assert settled(state.spent("tpm", window=Fixed(60.0))) == (0, 9)
        assert isinstance(hold(state, "tpm", 2, 10, window=60), Refusal)

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu"])
    def test_a_calendar_window_ends_with_the_day_of_its_place(
        self, state: State, clock: ManualClock, zone: str
    ) -> None:
        day = Calendar("day", zone)
        ends = day.bounds(clock.time())[1]
        assert self.settle(state, lease_of(hold(state, "budget", 10, 10, window=day)), {"budget": 10})
        refusal = hold(state, "budget", 1, 10, window=day)
        assert isinstance(refusal, Refusal)
        assert refusal.retry_at == ends
        clock.advance(ends - clock.time() - 0.5)
        assert isinstance(hold(state, "budget", 1, 10, window=day), Refusal)
        clock.advance(0.5)
        lease_of(hold(state, "budget", 10, 10, window=day))

    @pytest.mark.parametrize(
        ("start", "hours"),
        [(1_806_192_000.0, 23), (1_824_937_200.0, 25)],  # the clock changes of Berlin in 2027
    )
    def test_a_day_with_a_clock_change_is_one_window(
        self, state: State, clock: ManualClock, start: float, hours: int
    ) -> None:
        clock.advance(start - clock.time())
        day = Calendar("day", "Europe/Berlin")
        begins, ends = day.bounds(clock.time())
        assert ends - begins == hours * 3600
        assert self.settle(state, lease_of(hold(state, "budget", 10, 10, window=day)), {"budget": 10})
        clock.advance(ends - clock.time() - 1)
        assert isinstance(hold(state, "budget", 1, 10, window=day), Refusal)
        clock.advance(1)
        lease_of(hold(state, "budget", 1, 10, window=day))

    def test_units_that_begin_together_are_apart(self, state: State) -> None:
        wanted = [
            Reservation(key="budget", amount=5, limit=10, window=Calendar("month")),
            Reservation(key="budget", amount=5, limit=10, window=Calendar("year")),
            Reservation(key="budget", amount=5, limit=10, window=Calendar("month", "Asia/Tokyo")),
        ]
        assert self.settle(state, lease_of(settled(state.reserve(wanted, ttl=60))), {"budget": 4})
        for one in wanted:
            assert settled(state.spent("budget", window=one.window)) == (4, 0)

    def test_a_rolling_window_forgets_part_by_part(self, state: State, clock: ManualClock) -> None:
        clock.advance(60 - clock.time() % 60 + 0.25)
        window = Rolling(60)
        for _ in range(3):
            assert self.settle(state, lease_of(hold(state, "tpm", 3, 10, window=window)), {"tpm": 3})
            clock.advance(10)
        refusal = hold(state, "tpm", 2, 10, window=window)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 1
        first_leaves = clock.time() - 30.25 + 61
        assert refusal.retry_at == pytest.approx(first_leaves)
        clock.advance(first_leaves - clock.time() - 0.25)
        assert isinstance(hold(state, "tpm", 2, 10, window=window), Refusal)
        clock.advance(0.5)
        lease = lease_of(hold(state, "tpm", 4, 10, window=window))
        assert settled(state.spent("tpm", window=window)) == (6, 4)
        assert self.settle(state, lease, {"tpm": 2})
        clock.advance(120)
        assert settled(state.spent("tpm", window=window)) == (0, 0)

    def test_a_rolling_window_tells_when_enough_will_have_left(
        self, state: State, clock: ManualClock
    ) -> None:
        clock.advance(60 - clock.time() % 60 + 0.5)
        window = Rolling(60)
        start = clock.time() - 0.5
        for amount in (5, 3, 2):
            assert self.settle(
                state, lease_of(hold(state, "tpm", amount, 10, window=window)), {"tpm": amount}
            )
            clock.advance(7)
        for amount, after in ((5, 61), (6, 68), (9, 75), (11, 75)):
            refusal = hold(state, "tpm", amount, 10, window=window)
            assert isinstance(refusal, Refusal)
            assert refusal.retry_at == pytest.approx(start + after)

    def test_a_hold_leaves_a_rolling_window_with_its_part(self, state: State, clock: ManualClock) -> None:
        window = Rolling(60)
        lease = lease_of(hold(state, "tpm", 10, 10, window=window, ttl=600))
        clock.advance(62)
        assert settled(state.spent("tpm", window=window)) == (0, 0)
        lease_of(hold(state, "tpm", 10, 10, window=window, ttl=600))
        assert self.settle(state, lease, {"tpm": 10})
        assert settled(state.spent("tpm", window=window)) == (0, 10)

    def test_an_expired_lease_counts_in_the_part_of_its_reserve(
        self, state: State, clock: ManualClock
    ) -> None:
        clock.advance(60 - clock.time() % 60 + 0.5)
        window = Rolling(60)
        lease = lease_of(hold(state, "tpm", 10, 10, window=window, ttl=20, estimate=4))
        clock.advance(30)
        assert settled(state.spent("tpm", window=window)) == (4, 0)
        assert self.settle(state, lease, {"tpm": 6})
        assert settled(state.spent("tpm", window=window)) == (6, 0)
        clock.advance(31)
        assert settled(state.spent("tpm", window=window)) == (0, 0)

    # ------------------------------------------------------------ what the state does not know

    def test_a_window_that_began_before_the_state_asks_for_the_books(
        self, state: State, clock: ManualClock
    ) -> None:
        lease_of(hold(state, "anything", 1, 1))
        answer = ask_seeded(state, "budget")
        assert isinstance(answer, Unseeded)
        ((wanted, start, end),) = answer.windows
        assert (wanted.key, start, end) == ("budget", *Fixed(DAY).bounds(clock.time()))
        assert answer.since == pytest.approx(clock.time(), abs=0.01)
        assert settled(state.spent("budget", window=DAY)) == (0, 0)

    def test_who_does_not_ask_is_never_told_of_an_unseeded_window(self, state: State) -> None:
        lease_of(hold(state, "budget", 1, 1))

    def test_a_window_that_began_later_is_known(self, state: State, clock: ManualClock) -> None:
        assert isinstance(ask_seeded(state, "tpm", window=60), Unseeded)
        assert isinstance(ask_seeded(state, "rolling", window=Rolling(60)), Unseeded)
        clock.advance(60)
        lease_of(ask_seeded(state, "tpm", window=60))
        clock.advance(2)
        lease_of(ask_seeded(state, "rolling", window=Rolling(60)))

    def test_all_unseeded_windows_are_named_and_nothing_is_held(self, state: State) -> None:
        wanted = [
            Reservation(key="known", amount=1, limit=9, window=DAY),
            Reservation(key="day", amount=1, limit=9, window=DAY, seed=True),
            Reservation(key="month", amount=1, limit=9, window=Calendar("month", "Europe/Berlin"), seed=True),
            Reservation(key="slots", amount=1, limit=9, seed=True),
        ]
        answer = settled(state.reserve(wanted, ttl=60))
        assert isinstance(answer, Unseeded)
        assert [one.key for one, _, _ in answer.windows] == ["day", "month", "slots"]
        assert answer.windows[2][2] == float("inf")
        assert settled(state.spent("known", window=DAY)) == (0, 0)

    def test_seeding_a_window_makes_it_known_with_what_the_books_say(
        self, state: State, clock: ManualClock
    ) -> None:
        self.seed(state, "budget", DAY, spent=((clock.time() - 10, 20), (clock.time() - 5, 30)))
        assert settled(state.spent("budget", window=DAY)) == (50, 0)
        refusal = ask_seeded(state, "budget", 51)
        assert isinstance(refusal, Refusal)
        assert refusal.available == 50
        lease_of(ask_seeded(state, "budget", 50))

    def test_a_second_seed_changes_nothing(self, state: State, clock: ManualClock) -> None:
        first = self.seed(state, "budget", DAY, spent=((clock.time(), 20),))
        lease_of(ask_seeded(state, "budget", 5))
        settled(state.seed([Seed(key="budget", window=DAY, start=first.start, spent=((0.0, 99),))]))
        assert settled(state.spent("budget", window=DAY)) == (20, 5)

    def test_a_seed_of_a_window_that_is_over_changes_nothing(self, state: State, clock: ManualClock) -> None:
        answer = ask_seeded(state, "tpm", window=60)
        assert isinstance(answer, Unseeded)
        clock.advance(60)
        settled(state.seed([Seed(key="tpm", window=60, start=answer.windows[0][1], spent=((0.0, 99),))]))
        assert settled(state.spent("tpm", window=60)) == (0, 0)

    def test_what_the_books_say_takes_the_place_of_what_was_spent_so_far(
        self, state: State, clock: ManualClock
    ) -> None:
        assert self.settle(state, lease_of(hold(state, "budget", 9, 100)), {"budget": 9})
        open_still = lease_of(hold(state, "budget", 7, 100))
        self.seed(state, "budget", DAY, spent=((clock.time(), 20),))
        assert settled(state.spent("budget", window=DAY)) == (20, 7)
        assert self.settle(state, open_still, {"budget": 1})
        assert settled(state.spent("budget", window=DAY)) == (21, 0)

    def test_open_leases_of_the_books_are_held_until_their_owners_settle_them(
        self, state: State, clock: ManualClock
    ) -> None:
        expires = clock.time() + 30
        self.seed(state, "budget", DAY, open={"call:1": (60, 25, expires), "call:2": (10, 5, expires)})
        assert settled(state.spent("budget", window=DAY)) == (0, 70)
        reservation = Reservation(key="budget", amount=60, limit=100, window=DAY)
        lease = Lease(id="call:1", reservations=(reservation,))
        assert self.settle(state, lease, {"budget": 40})
        assert not self.settle(state, lease, {"budget": 40})
        assert settled(state.spent("budget", window=DAY)) == (40, 10)
        clock.advance(31)
        assert settled(state.spent("budget", window=DAY)) == (45, 0)

    def test_an_open_lease_of_the_books_whose_time_is_over_counts_at_its_estimate(
        self, state: State, clock: ManualClock
    ) -> None:
        self.seed(state, "budget", DAY, open={"call:1": (60, 25, clock.time() - 1)})
        assert settled(state.spent("budget", window=DAY)) == (25, 0)

    def test_one_open_lease_is_seeded_in_every_one_of_its_limits(
        self, state: State, clock: ManualClock
    ) -> None:
        expires = clock.time() + 30
        self.seed(state, "team", DAY, open={"call:1": (60, 25, expires)})
        self.seed(state, "user", DAY, open={"call:1": (60, 25, expires)})
        self.seed(state, "slots", None, open={"call:1": (1, 0, expires)})
        assert settled(state.spent("slots")) == (0, 1)
        both = tuple(Reservation(key=key, amount=60, limit=99, window=DAY) for key in ("team", "user"))
        assert self.settle(state, Lease(id="call:1", reservations=both), {"team": 9, "user": 9})
        assert settled(state.spent("team", window=DAY)) == (9, 0)
        assert settled(state.spent("user", window=DAY)) == (9, 0)
        assert settled(state.spent("slots")) == (0, 0)

    def test_slots_that_were_seeded_stay_known_while_none_is_held(
        self, state: State, clock: ManualClock
    ) -> None:
        assert isinstance(ask_seeded(state, "slots", window=None), Unseeded)
        self.seed(state, "slots", None)
        for _ in range(3):
            settled(state.release(lease_of(ask_seeded(state, "slots", window=None))))
            clock.advance(100)

    def test_slots_are_known_once_no_lease_of_a_time_before_can_be_open(
        self, state: State, clock: ManualClock
    ) -> None:
        assert isinstance(ask_seeded(state, "slots", window=None), Unseeded)
        clock.advance(DAY)
        lease_of(ask_seeded(state, "slots", window=None))

    def test_a_rolling_window_is_seeded_part_by_part(self, state: State, clock: ManualClock) -> None:
        clock.advance(0.5)
        window = Rolling(60)
        now = clock.time()
        spent = ((now - 90, 50), (now - 40, 20), (now - 10, 30), (now, 1))
        self.seed(state, "tpm", window, spent=spent, open={"call:1": (5, 2, now + 10)})
        assert settled(state.spent("tpm", window=window)) == (51, 5)
        clock.advance(11)
        assert settled(state.spent("tpm", window=window)) == (53, 0)
        clock.advance(10)
        assert settled(state.spent("tpm", window=window)) == (33, 0)
        clock.advance(30)
        assert settled(state.spent("tpm", window=window)) == (3, 0)
        lease_of(ask_seeded(state, "tpm", 97, window=window))

    def seed(
        self,
        state: State,
        key: str,
        window: Window | float | None,
        *,
        spent: tuple[tuple[float, int], ...] = (),
        open: Mapping[str, tuple[int, int, float]] | None = None,
    ) -> Seed:
        """Ask, be told that it is unseeded, and seed it."""
        answer = ask_seeded(state, key, window=window)
        assert isinstance(answer, Unseeded)
        seed = Seed(key=key, window=window, start=answer.windows[0][1], spent=spent, open=open or {})
        settled(state.seed([seed]))
        return seed

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
