"""Budgets: held before, settled after, never passed, and keyed by the trusted context alone."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import DEAR, a_call, a_deployment, a_request, an_attempt, some_services

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Skip
from llmgate_plugins.errors import RequestDenied, StorageError
from llmgate_plugins.plugins import Budget
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.services import Services
from llmgate_plugins.types import NANO, Deployment, Outcome, Price, Request

DAY = 86_400.0
TEAM = Context(team="search")
A = a_deployment("a", price=DEAR)
CHEAP = a_deployment("cheap", price=Price(input=100_000_000, output=400_000_000))
SHORT = a_request("hi", params={"max_tokens": 100})
WORST = worst_cost(A, SHORT, assume_output=4096)


class Spending:
    """Attempts of many calls against one budget."""

    def __init__(self, budget: Budget, services: Services | None = None) -> None:
        self.budget = budget
        self.services = services or some_services()

    def begin(self, context: Context = TEAM, deployment: Deployment = A) -> tuple[Call, Any]:
        call = a_call(SHORT, context)
        attempt = an_attempt(deployment)
        return call, self.budget.begin_attempt(attempt, SHORT, context, call, self.services)

    def end(self, call: Call, cost: int, status: Any = "success") -> None:
        outcome = Outcome(status=status, cost=cost)
        self.budget.end_attempt(an_attempt(A), outcome, call.context, call, self.services)

    def admit(self, context: Context = TEAM) -> Any:
        return self.budget.admit_request(context, self.services)

    def books(self, context: Context = TEAM) -> Any:
        return self.services.state.spent(self.budget.key(context), window=self.budget.window)


def test_the_worst_case_is_held_and_the_cost_is_booked() -> None:
    spending = Spending(Budget("team", NANO, DAY))
    call, answer = spending.begin()
    assert answer is None
    assert spending.books() == (0, WORST)
    spending.end(call, 1234)
    assert spending.books() == (1234, 0)


def test_what_does_not_fit_is_skipped_and_frees_up_again() -> None:
    spending = Spending(Budget("team", WORST * 2, DAY))
    (one, _), (_, second), (_, third) = spending.begin(), spending.begin(), spending.begin()
    assert (second, third) == (None, Skip("budget"))
    spending.end(one, 10)
    assert spending.begin()[1] == Skip("budget")
    assert spending.begin(deployment=CHEAP)[1] is None


def test_when_all_is_spent_calls_are_denied_until_the_window_ends() -> None:
    spending = Spending(Budget("team", WORST, DAY))
    assert spending.admit() is None
    call, _ = spending.begin()
    spending.end(call, WORST)
    with pytest.raises(RequestDenied) as denied:
        spending.admit()
    assert denied.value.code == "budget"
    now = spending.services.clock.time()
    assert denied.value.retry_at == (math.floor(now / DAY) + 1) * DAY
    spending.services.clock.advance(DAY)  # type: ignore[attr-defined]
    assert spending.admit() is None


def test_each_team_has_its_own_budget_and_nameless_calls_share_one() -> None:
    spending = Spending(Budget("team", WORST, DAY))
    assert spending.begin()[1] is None
    assert spending.begin(Context(team="other"))[1] is None
    assert spending.begin(Context())[1] is None
    assert spending.begin(Context(user="somebody"))[1] == Skip("budget")


def test_a_global_budget_is_one_for_all() -> None:
    spending = Spending(Budget("global", WORST, DAY))
    assert spending.begin()[1] is None
    assert spending.begin(Context(team="other"))[1] == Skip("budget")


def test_tags_buy_nothing() -> None:
    budget = Budget("team", WORST, DAY)
    services, request = some_services(), SHORT.replace(tags={"team": "other", "budget": "none"})
    for expected in (None, Skip("budget")):
        assert budget.begin_attempt(an_attempt(A), request, TEAM, a_call(request, TEAM), services) == expected


def test_a_skipped_attempt_gives_its_hold_back() -> None:
    spending = Spending(Budget("team", NANO, DAY))
    call, _ = spending.begin()
    spending.end(call, 0, status="skipped")
    assert spending.books() == (0, 0)


def test_an_attempt_is_settled_once() -> None:
    spending = Spending(Budget("team", NANO, DAY))
    call, _ = spending.begin()
    spending.end(call, 10)
    spending.end(call, 10)
    assert spending.books() == (10, 0)


def test_a_soft_budget_books_and_denies_only_once_all_is_spent() -> None:
    spending = Spending(Budget("team", WORST, DAY, hard=False))
    calls = [spending.begin() for _ in range(3)]
    assert [answer for _, answer in calls] == [None] * 3
    for call, _ in calls:
        spending.end(call, WORST)
    assert spending.books() == (3 * WORST, 0)
    with pytest.raises(RequestDenied):
        spending.admit()


def test_near_the_end_the_cheapest_is_preferred_if_that_is_wanted() -> None:
    spending = Spending(Budget("team", WORST * 2, DAY, on_exhausted="cheapest"))
    budget, services = spending.budget, spending.services
    assert budget.rank_deployments(SHORT, (A, CHEAP), TEAM, services) is None
    spending.begin()
    spending.begin(deployment=CHEAP)
    ranking: Any = budget.rank_deployments(SHORT, (A, CHEAP), TEAM, services)
    assert [one.id for one in ranking.order] == ["cheap", "a"]
    plain = Budget("team", WORST * 2, DAY)
    assert plain.rank_deployments(SHORT, (A, CHEAP), TEAM, services) is None


def test_a_soft_budget_that_degrades_never_denies() -> None:
    spending = Spending(Budget("team", WORST, DAY, hard=False, on_exhausted="cheapest"))
    call, _ = spending.begin()
    spending.end(call, 5 * WORST)
    assert spending.admit() is None
    ranking: Any = spending.budget.rank_deployments(SHORT, (A, CHEAP), TEAM, spending.services)
    assert ranking.order[0] is CHEAP


class Broken:
    """A state that cannot be asked."""

    def reserve(self, reservations: Any, *, ttl: float) -> Any:
        raise StorageError("gone")


class BrokenLater:
    async def reserve(self, reservations: Any, *, ttl: float) -> Any:
        raise StorageError("gone")


async def test_a_hard_budget_sends_nothing_when_the_state_cannot_be_asked() -> None:
    for hard, expected in ((True, Skip("budget_unavailable")), (False, None)):
        for state in (Broken(), BrokenLater()):
            services = replace(some_services(), state=state)  # type: ignore[arg-type]
            answer = Spending(Budget("team", NANO, DAY, hard), services).begin()[1]
            assert (await answer if hasattr(answer, "__await__") else answer) == expected


class Silent:
    """A state that cannot be asked what was spent, at once or later."""

    def __init__(self, later: bool) -> None:
        self.later = later

    def spent(self, key: str, *, window: float | None = None) -> Any:
        return self._gone() if self.later else _raise_gone()

    async def _gone(self) -> Any:
        _raise_gone()


def _raise_gone() -> Any:
    raise StorageError("gone")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("hook", ["admit_request", "rank_deployments"])
async def test_a_soft_budget_lets_calls_go_on_when_the_state_cannot_be_asked(hook: str, later: bool) -> None:
    services = replace(some_services(), state=Silent(later))  # type: ignore[arg-type]

    async def asked(budget: Budget) -> Any:
        if hook == "admit_request":
            answer: Any = budget.admit_request(TEAM, services)
        else:
            answer = budget.rank_deployments(SHORT, (A, CHEAP), TEAM, services)
        return await answer if hasattr(answer, "__await__") else answer

    assert await asked(Budget("team", NANO, DAY, hard=False)) is None
    assert await asked(Budget("team", NANO, DAY, hard=False, on_exhausted="cheapest")) is None
    with pytest.raises(StorageError):
        await asked(Budget("team", NANO, DAY, on_exhausted="cheapest"))


class Slow:
    """A state whose answers are on their way: futures of threads, or coroutines."""

    def __init__(self, inner: Any, future: bool) -> None:
        self.inner, self.future = inner, future

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            answer = getattr(self.inner, name)(*args, **kwargs)
            if self.future:
                done: Future[Any] = Future()
                done.set_result(answer)
                return done
            return asyncio.sleep(0, answer)

        return ask


@pytest.mark.parametrize("future", [True, False])
async def test_a_state_whose_answers_are_on_their_way_is_waited_for(future: bool) -> None:
    plain = some_services()
    services = replace(plain, state=Slow(plain.state, future))  # type: ignore[arg-type]
    budget = Budget("team", WORST, DAY)
    call, attempt = a_call(SHORT, TEAM), an_attempt(A)
    assert await budget.begin_attempt(attempt, SHORT, TEAM, call, services) is None  # type: ignore[misc]
    again = an_attempt(A, 2)
    assert await budget.begin_attempt(again, SHORT, TEAM, call, services) == Skip("budget")  # type: ignore[misc]
    settled = budget.end_attempt(attempt, Outcome(status="success", cost=WORST), TEAM, call, services)
    assert (await asyncio.wrap_future(settled) if future else await settled) is True
    with pytest.raises(RequestDenied):
        await budget.admit_request(TEAM, services)  # type: ignore[misc]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 1)), max_size=40),
    st.integers(1, 6),
)
def test_spent_and_held_never_pass_the_limit(steps: list[tuple[bool, int, float]], times: int) -> None:
    spending = Spending(Budget("team", WORST * times + 1, DAY))
    under_way: list[Call] = []
    for begins, place, part in steps:
        if begins or not under_way:
            call, answer = spending.begin()
            if answer is None:
                under_way.append(call)
        else:
            spending.end(under_way.pop(place % len(under_way)), int(WORST * part))
        assert sum(spending.books()) <= spending.budget.limit
    for call in under_way:
        spending.end(call, WORST)
    assert spending.books()[1] == 0


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (a_request("x" * 1000, params={"max_tokens": 10}), 1000 + 16 + 10 * 5),
        (a_request("ü" * 1000, params={"max_completion_tokens": 10}), 2000 + 16 + 10 * 5),
        (a_request("", params={"max_tokens": 10, "n": 3}), 16 + 30 * 5),
        (a_request("", operation="embedding", params={"input": "x" * 100}), 16 + 100),
        (a_request(""), 16 + 4096 * 5),
    ],
)
def test_the_worst_case_counts_all_that_may_be_billed(request_: Request, tokens: int) -> None:
    assert worst_cost(A, request_, assume_output=4096) == tokens * 3_000


def test_the_worst_case_knows_what_a_deployment_can_do_at_most() -> None:
    small = a_deployment("small", price=DEAR, context_window=100, max_output=50)
    assert worst_cost(small, a_request("x" * 10_000), assume_output=4096) == 100 * 3_000 + 50 * 15_000
    fixed = a_deployment("fixed", price=DEAR, params={"max_tokens": 7})
    assert worst_cost(fixed, a_request(""), assume_output=4096) == 16 * 3_000 + 7 * 15_000


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"scope": "nation"}, "scope"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"window": 0}, "window"),
        ({"window": float("inf")}, "window"),
        ({"on_exhausted": "panic"}, "on_exhausted"),
        ({"assume_output": 0}, "assume_output"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Budget(**({"scope": "team", "limit": NANO, "window": DAY} | arguments))
