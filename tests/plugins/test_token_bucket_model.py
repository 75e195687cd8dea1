"""Bucket and limiter against models that are too simple to be wrong."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgate_plugins.plugins.smoothing import RateLimit
from llmgate_plugins.plugins.smoothing.bucket import SECOND, WHOLE, Bucket, Charge
from llmgate_plugins.plugins.smoothing.concurrency import Slots
from llmgate_plugins.plugins.smoothing.pool import Pool
from llmgate_plugins.plugins.smoothing.ticket import Keep, Ticket
from llmgate_plugins.types import ErrorClass, Failure, Outcome, Scope, Usage

MINUTE = 60 * SECOND
LIMIT = 20
MARGIN = SECOND
"""What was used counts for up to this much longer than a minute."""
NO_KEEP = Keep(0, 0.0)


@dataclass
class Passed:
    at: int
    amount: int
    charge: Charge | None


class BucketMachine(RuleBasedStateMachine):
    """Everything that ever passed is kept, and the last minute is summed anew."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000 * SECOND
        self.bucket = Bucket(firm=True)
        self.bucket.configure(LIMIT)
        self.passed: list[Passed] = []

    def in_minute_before(self, now: int, minute: int = MINUTE) -> int:
        return sum(one.amount for one in self.passed if now - minute < one.at <= now)

    @rule(amount=st.integers(0, 8))
    def ask(self, amount: int) -> None:
        turn, again = self.bucket.wait(self.now, WHOLE, 0, amount, SECOND)
        assert 0 <= again <= turn
        if turn == 0:
            self.passed.append(Passed(self.now, amount, self.bucket.take(self.now, amount)))
            assert self.in_minute_before(self.now) <= LIMIT
        else:
            # Refused only where what was used in a minute and the margin really leaves no room ...
            assert self.in_minute_before(self.now, MINUTE + MARGIN) + amount > LIMIT
            # ... and when the time told has passed, there is room.
            later = copy.deepcopy(self.bucket)
            assert later.wait(self.now + turn, WHOLE, 0, amount, SECOND)[0] == 0

    @rule(which=st.integers(0, 50), actual=st.integers(0, 8))
    def settle(self, which: int, actual: int) -> None:
        running = [one for one in self.passed if one.charge is not None]
        if running:
            one = running[which % len(running)]
            actual = min(actual, one.amount)
            self.bucket.settle(self.now, one.charge, actual)
            one.amount, one.charge = actual, None

    @rule(seconds=st.floats(0.0, 70.0))
    def time_passes(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    @invariant()
    def nothing_is_forgotten_early_or_kept_late(self) -> None:
        used = self.bucket.used(self.now)
        assert self.in_minute_before(self.now) <= used <= self.in_minute_before(self.now, MINUTE + MARGIN)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.bucket._slots) <= 124


class PoolMachine(RuleBasedStateMachine):
    """Calls come, wait, go, leave, end; two limits and a few slots hold for all of them."""

    SLOTS = 3

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000 * SECOND
        self.pool = Pool(RateLimit(requests=6, tokens=100, concurrency=self.SLOTS), NO_KEEP)
        self.waiting: list[Ticket] = []
        self.running: list[Ticket] = []
        self.admitted: list[tuple[int, int]] = []  # (when, tokens used or reserved)

    def ask(self, ticket: Ticket) -> bool:
        turn, again = self.pool.ask(ticket, self.now)
        assert 0 <= again <= turn
        if turn:
            return False
        self.running.append(ticket)
        self.admitted.append((self.now, ticket.amounts["tokens"]))
        return True

    @rule(tokens=st.integers(1, 60), lane=st.sampled_from((0, 0, 0, 1, 2)))
    def come(self, tokens: int, lane: int) -> None:
        amounts = {"requests": 1, "tokens": tokens}
        ticket = Ticket(self.pool, lane, amounts, 0, self.now)
        alike = [one for one in self.waiting if one.lane >= lane]
        if self.ask(ticket):
            # Nobody of its own kind is overtaken: those before it find their place free, too.
            for one in alike:
                assert self.ask(one)
                self.waiting.remove(one)
        else:
            self.waiting.append(ticket)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 50))
    def look_again(self, which: int) -> None:
        ticket = self.waiting[which % len(self.waiting)]
        if self.ask(ticket):
            self.waiting.remove(ticket)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 50))
    def leave(self, which: int) -> None:
        self.pool.leave(self.waiting.pop(which % len(self.waiting)))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 50), how=st.sampled_from(("success", "cancelled", "skipped", "error")))
    def end(self, which: int, how: str) -> None:
        ticket = self.running.pop(which % len(self.running))
        usage = Usage(input=ticket.amounts["tokens"])
        failure = None
        if how == "error":
            failure = Failure(error_class=ErrorClass.SERVER, scope=Scope.DEPLOYMENT)
        outcome = Outcome(status=how, usage=usage, failure=failure)  # type: ignore[arg-type]
        self.pool.end(ticket, outcome, ticket.started, self.now)

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        for ticket in [one for one in self.waiting if one.due < self.now - 30 * SECOND]:
            if self.ask(ticket):  # late, but not lost
                self.waiting.remove(ticket)

    @invariant()
    def never_more_at_once_than_there_are_slots(self) -> None:
        assert self.pool.slots.running == len(self.running) <= self.SLOTS

    @invariant()
    def the_line_holds_those_who_wait(self) -> None:
        lines = [self.pool.slots.line, *(bucket.line for bucket in self.pool.buckets.values())]
        assert lines[0].waiting >= len(self.waiting)
        if not self.waiting:
            assert [line.waiting for line in lines] == [0, 0, 0]

    def teardown(self) -> None:
        """Whoever keeps asking gets a turn, and nothing is left behind."""
        for _ in range(1_000):
            for ticket in self.running:
                self.pool.end(ticket, Outcome(status="cancelled"), ticket.started, self.now)
            self.running.clear()
            if not self.waiting:
                break
            for ticket in list(self.waiting):
                if self.ask(ticket):
                    self.waiting.remove(ticket)
            self.now += 5 * SECOND
        assert not self.waiting
        assert not self.pool.busy
        assert self.pool.slots.line.waiting == 0
        assert [bucket.used(self.now + 2 * MINUTE) for bucket in self.pool.buckets.values()] == [0, 0]


class SlotsMachine(RuleBasedStateMachine):
    """AIMD: never above what is configured, never below one, and back again."""

    MOST = 10

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots()
        self.slots.configure(self.MOST)

    @property
    def limit(self) -> int:
        assert self.slots.limit is not None
        return self.slots.limit

    @rule()
    def begin(self) -> None:
        if self.slots.wait(WHOLE, 0)[0] == 0:
            assert self.slots.running < self.limit
            self.slots.take()
        else:
            assert self.slots.running >= self.limit

    @precondition(lambda self: self.slots.running)
    @rule()
    def answer(self) -> None:
        before, used = self.limit, self.slots.running * 2 > self.limit
        self.slots.answered(SECOND)
        self.slots.free()
        assert before <= self.limit <= before + used

    @precondition(lambda self: self.slots.running)
    @rule()
    def refuse(self) -> None:
        before = self.limit
        self.slots.cut()
        self.slots.free()
        assert self.limit == max(before * 9 // 10, 1)

    @invariant()
    def within_bounds(self) -> None:
        assert 1 <= self.limit <= self.MOST
        assert 0 <= self.slots.running <= self.MOST

    def teardown(self) -> None:
        for _ in range(1_000):
            while self.slots.wait(WHOLE, 0)[0] == 0:
                self.slots.take()
            self.slots.answered(SECOND)
            self.slots.free()
        assert self.limit == self.MOST


MACHINES = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestBucket = BucketMachine.TestCase
TestBucket.settings = MACHINES
TestPool = PoolMachine.TestCase
TestPool.settings = MACHINES
TestSlots = SlotsMachine.TestCase
TestSlots.settings = MACHINES


def a_bucket(limit: int) -> Bucket:
    bucket = Bucket(firm=True)
    bucket.configure(limit)
    return bucket


def passes(bucket: Bucket, now: int, amount: int = 1) -> bool:
    if bucket.wait(now, WHOLE, 0, amount, SECOND)[0]:
        return False
    bucket.take(now, amount)
    return True


def test_a_whole_minutes_worth_may_go_at_once_and_then_nothing_for_a_minute() -> None:
    bucket = a_bucket(50)
    assert sum(passes(bucket, 0) for _ in range(60)) == 50
    assert not passes(bucket, 60 * SECOND)
    assert passes(bucket, 61 * SECOND)


def test_more_than_the_whole_limit_passes_alone_and_the_provider_judges() -> None:
    bucket = a_bucket(10)
    assert passes(bucket, 0, 25)
    assert not passes(bucket, SECOND, 1)
    assert passes(bucket, 62 * SECOND, 25)


def test_a_provider_that_allows_less_at_once_is_learned_as_a_pace() -> None:
    bucket = a_bucket(60)
    now = 0
    for _ in range(4):
        while passes(bucket, now):
            pass
        bucket.cut(now)
        now += 62 * SECOND
    sent = [second for second in range(60) if passes(bucket, now + second * SECOND)]
    gaps = [after - before for before, after in itertools.pairwise(sent)]
    assert set(gaps) <= {1, 2}
    assert 30 <= len(sent) <= bucket.limit


def test_a_cut_is_made_good_within_two_minutes_of_use_and_not_without() -> None:
    bucket = a_bucket(100)
    now = 0
    assert passes(bucket, now, 30)
    bucket.cut(now)
    for _ in range(30):
        now += 5 * SECOND
        bucket.grow(now)
    assert bucket.limit == 90  # less than half of it was used
    for _ in range(24):
        now += 5 * SECOND
        passes(bucket, now, 6)
        bucket.grow(now)
    assert bucket.limit == 100


def test_what_the_provider_says_is_left_corrects_downwards_alone() -> None:
    bucket = a_bucket(100)
    bucket.take(0, 10)
    bucket.told(0, 100, 95, None)
    assert bucket.used(0) == 10
    bucket.told(0, 100, 20, 5 * SECOND)
    assert bucket.used(0) == 80
    assert bucket.wait(0, WHOLE, 0, 30, SECOND)[0] == 5 * SECOND
    assert bucket.used(5 * SECOND) == 10


@pytest.mark.parametrize(("told", "ceiling"), [(50, 50), (500, 100)])
def test_of_configured_and_told_the_lower_one_holds(told: int, ceiling: int) -> None:
    bucket = a_bucket(100)
    bucket.told(0, told, None, None)
    assert bucket.limit == bucket.ceiling == ceiling


def test_output_counts_from_the_end_of_a_call() -> None:
    bucket = Bucket(late=True, firm=True)
    bucket.configure(100)
    charge = bucket.take(0, 60)
    assert bucket.used(90 * SECOND) == 60  # still being written
    bucket.settle(90 * SECOND, charge, 40)
    assert bucket.used(149 * SECOND) == 40
    assert bucket.used(152 * SECOND) == 0


def test_a_waiting_call_that_is_never_heard_of_again_loses_its_place() -> None:
    pool = Pool(RateLimit(requests=1), NO_KEEP)
    now = 0
    first, lost, last = (Ticket(pool, 0, {"requests": 1}, 0, now) for _ in range(3))
    assert pool.ask(first, now) == (0, 0)
    assert pool.ask(lost, now)[0] > 0
    assert pool.ask(last, now)[0] > MINUTE
    pool.end(first, Outcome(status="success"), now, now)
    now += 3 * MINUTE
    assert pool.ask(last, now) == (0, 0)
    assert pool.slots.line.waiting == 0


def test_places_behind_one_that_leaves_move_up_and_those_before_it_do_not() -> None:
    pool = Pool(RateLimit(requests=2), NO_KEEP)
    tickets = [Ticket(pool, 0, {"requests": 1}, 0, 0) for _ in range(6)]
    turns = [pool.ask(ticket, 0)[0] for ticket in tickets]
    assert turns == [0, 0, *[61 * SECOND] * 2, *[122 * SECOND] * 2]
    pool.leave(tickets[3])
    assert pool.ask(tickets[2], SECOND)[0] == 60 * SECOND
    assert [pool.ask(one, 61 * SECOND)[0] for one in tickets[2:3]] == [0]
    assert pool.ask(tickets[4], 61 * SECOND)[0] == 0
    assert pool.ask(tickets[5], 61 * SECOND)[0] == 61 * SECOND
