"""Further attempts stay a share of the calls, whatever fails and however often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.faces import FACES, ask
from support.gateways import deployment, scene

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.plugins import Failover
from llmgate_plugins.plugins.retry_budget import SLICES, RetryBudget
from llmgate_plugins.testing import Fault


def spent(budget: RetryBudget, now: float) -> int:
    """How many further attempts fail before there is no token left."""
    failed = 0
    while budget.allows(1, now) and failed < 100:
        budget.take(1, now)
        failed += 1
    return failed


def test_what_is_always_there_is_used_up_and_comes_back_evenly() -> None:
    budget = RetryBudget(share=0, floor=0.5, window=60)
    assert spent(budget, now=0) == 30
    assert not budget.allows(1, now=1)
    assert budget.allows(1, now=2)
    assert spent(budget, now=1_000) == 30


def test_a_debt_of_many_at_once_is_worked_off_within_one_window() -> None:
    budget = RetryBudget(share=0, floor=0.5, window=60)
    for _ in range(1_000):
        budget.take(1, now=0)
    assert not budget.allows(1, now=60)
    assert budget.allows(1, now=62)


def test_calls_pay_in_a_share_that_expires() -> None:
    budget = RetryBudget(share=0.25, floor=0, window=60)
    for _ in range(8):
        budget.deposit(now=0)
    assert budget.left(now=0) == 2
    budget.take(1, now=50)
    assert budget.left(now=50) == 1
    assert budget.left(now=61) == 0


@pytest.mark.parametrize("arguments", [{"share": -1}, {"floor": float("nan")}, {"window": 0}])
def test_a_budget_that_makes_no_sense_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RetryBudget(**arguments)


@given(
    events=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(["call", "take"]), st.sampled_from([0.4, 1.0]))
    ),
    share=st.floats(0, 1),
    floor=st.floats(0, 2),
)
def test_no_stretch_of_time_sees_more_than_its_share(
    events: list[tuple[float, str, float]], share: float, floor: float
) -> None:
    budget, now, window = RetryBudget(share, floor, window=30), 0.0, 30
    calls, taken = 0, 0.0
    for passed, kind, cost in events:
        now += passed
        if kind == "call":
            calls += 1
            budget.deposit(now)
        elif budget.allows(cost, now):
            budget.take(cost, now)
            taken += cost
        assert taken <= share * calls + floor * (now + window) + 1e-6


class BudgetMachine(RuleBasedStateMachine):
    """The budget against a model that keeps every deposit and goes through all of them."""

    SHARE, FLOOR, WINDOW = 0.25, 0.5, 40.0

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(self.SHARE, self.FLOOR, self.WINDOW)
        self.now = 1_000.0
        self.deposits: list[list[float]] = []
        self.reserve = self.FLOOR * self.WINDOW
        self.then: float | None = None

    def model_left(self) -> float:
        slice_now = self.now // (self.WINDOW / SLICES)
        self.deposits = [one for one in self.deposits if one[0] > slice_now - SLICES]
        grown = 0.0 if self.then is None else (self.now - self.then) * self.FLOOR
        return sum(one[1] for one in self.deposits) + min(self.FLOOR * self.WINDOW, self.reserve + grown)

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_is_made(self) -> None:
        self.budget.deposit(self.now)
        self.deposits.append([self.now // (self.WINDOW / SLICES), self.SHARE])

    @rule(cost=st.sampled_from([0.4, 1.0, 3.0]))
    def another_attempt_is_wanted(self, cost: float) -> None:
        there = self.model_left()
        if abs(there - cost) < 1e-6:
            return  # either answer is right
        assert self.budget.allows(cost, self.now) is (there > cost)
        self.budget.take(cost, self.now)
        grown = 0.0 if self.then is None else (self.now - self.then) * self.FLOOR
        self.reserve = min(self.FLOOR * self.WINDOW, self.reserve + grown)
        self.then = self.now
        for one in self.deposits:
            part = min(cost, one[1])
            one[1] -= part
            cost -= part
        self.reserve = max(self.reserve - cost, -self.FLOOR * self.WINDOW)

    @invariant()
    def both_have_as_much_left(self) -> None:
        assert abs(self.budget.left(self.now) - self.model_left()) < 1e-6


TestBudget = BudgetMachine.TestCase


@pytest.mark.parametrize("face", FACES)
def test_without_a_token_a_retry_is_not_sent_and_the_record_says_so(face: str) -> None:
    world = scene({"a": [Fault("server")] * 3}, Failover(retry_share=0, retry_floor=0))
    told = ask(face, world.gateway)
    assert isinstance(told.error, ProviderError)
    assert told.record.attempts[-1][1].skipped == "retry_budget"
    assert world.sent == ["a"]
    assert world.books_balance()


@pytest.mark.parametrize("face", FACES)
def test_another_provider_is_tried_without_a_token_and_a_sibling_of_the_same_is_not(face: str) -> None:
    group = [deployment("a"), deployment("b"), deployment("c", provider="other")]
    script = {"a": [Fault("server")], "b": ["unreached"], "c": ["from elsewhere"]}
    world = scene(script, Failover(retry_share=0, retry_floor=0), deployments=group)
    assert ask(face, world.gateway).text == "from elsewhere"
    assert world.sent == ["a", "c"]
    assert world.books_balance()
