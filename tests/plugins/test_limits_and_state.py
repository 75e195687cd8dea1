"""Limits and what they stand on: alerts, a state that is away, books that outlive the process."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.books import intent
from support.faces import ask, every_face
from support.gateways import deployment
from support.values import DEAR, a_call, a_deployment, a_request, an_attempt, some_services

from llmgate_plugins import Context, Gateway, Message, Request, RequestDenied, StorageError
from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Skip, Wait
from llmgate_plugins.ledger import MemoryLedger, open_ledger
from llmgate_plugins.plugins import (
    Budget,
    ConcurrencyLimit,
    LedgerAccounting,
    Limits,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.plugins.limits import Limit
from llmgate_plugins.services import Services
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import ScriptedProvider, VirtualClock, VirtualSleeper
from llmgate_plugins.types import Attempt, Outcome, Price
from llmgate_plugins.windows import Calendar, Fixed, Rolling

DAY = Calendar("day")
TEAM = Context(team="search", user="ada")
A = a_deployment("a", price=DEAR)
SHORT = a_request("hi", params={"max_tokens": 100})
WORST = worst_cost(A, SHORT, assume_output=4096)


class Told:
    """Keeps the alerts."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def report(self, alert: Alert) -> None:
        self.alerts.append(alert)

    @property
    def short(self) -> list[tuple[str, str, bool]]:
        return [(one.kind, one.subject, one.resolved) for one in self.alerts]


class Stepped:
    """Attempts of many calls against some limits, stepped by hand."""

    def __init__(self, *limits: Limit, services: Services | None = None) -> None:
        self.told = Told()
        self.services = replace(services or some_services(), alerts=self.told)
        self.plugin = Limits(limits)
        self.number = 0

    def begin(self, context: Context = TEAM) -> tuple[Call, Attempt, Any]:
        self.number += 1
        call = a_call(SHORT, context)
        call.id = f"call-{self.number}"
        attempt = an_attempt(A, call_id=call.id)
        try:
            return call, attempt, self.plugin.begin_attempt(attempt, SHORT, context, call, self.services)
        except RequestDenied as denied:
            return call, attempt, denied

    def end(self, call: Call, attempt: Attempt, cost: int, status: Any = "success") -> None:
        self.plugin.end_attempt(attempt, Outcome(status=status, cost=cost), call, self.services)

    def spend(self, cost: int) -> None:
        call, attempt, answer = self.begin()
        assert answer is None
        self.end(call, attempt, cost)

    def advance(self, seconds: float) -> None:
        self.services.clock.advance(seconds)  # type: ignore[attr-defined]


# ------------------------------------------------------------ alerts


def test_thresholds_are_told_once_each_and_are_over_when_the_window_ends() -> None:
    stepped = Stepped(Budget("team", 1_000 * WORST, DAY, alert_at=(0.5, 0.8)))
    key = "budget:team:day@UTC:search"
    stepped.spend(400 * WORST)
    assert stepped.told.alerts == []
    stepped.spend(100 * WORST)
    (half,) = stepped.told.alerts
    assert (half.kind, half.subject, half.severity) == ("budget_threshold", f"{key} 50%", "warning")
    assert (half.facts["threshold"], half.facts["spent"]) == (0.5, 500 * WORST)
    name = "the budget of 1.55 USD per day (UTC) of team 'search'"
    assert half.summary.startswith(f"{name} has passed 50%: 0.78 USD used; it resets at 20")
    stepped.spend(1)
    stepped.spend(399 * WORST)
    assert stepped.told.short[1:] == [("budget_threshold", f"{key} 80%", False)]
    stepped.advance(86_400)
    stepped.spend(1)
    assert stepped.told.short[2:] == [
        ("budget_threshold", f"{key} 50%", True),
        ("budget_threshold", f"{key} 80%", True),
    ]
    assert {alert.summary for alert in stepped.told.alerts[2:]} == {f"{name} begins anew"}
    stepped.spend(600 * WORST)
    assert stepped.told.short[4:] == [("budget_threshold", f"{key} 50%", False)]


@every_face
def test_a_deployment_whose_price_nobody_knows_is_told_once_where_a_budget_asks(face: str) -> None:
    provider = ScriptedProvider(default="ok")
    unknown, free = deployment("new", price=None), deployment("own", alias="own", price=Price())
    gateway = Gateway(
        [unknown, free],
        transport=provider,
        plugins=[Limits([Budget("team", 1_000, DAY), RequestLimit("team", 9, 60)])],
    )
    for alias in ("fast", "fast", "own"):
        assert ask(face, gateway, model=alias).text == "ok"
    (alert,) = gateway.alerts.recent
    assert (alert.kind, alert.subject, alert.severity) == ("price_unknown", "new", "warning")
    assert "scripted/model-new" in alert.summary
    assert "`prices`" in alert.summary


def test_a_limit_of_requests_needs_no_price() -> None:
    gateway = Gateway(
        [deployment("new", price=None)],
        transport=ScriptedProvider(default="ok"),
        plugins=[Limits([RequestLimit("team", 9, 60)])],
    )
    gateway.complete("fast", "hi")
    assert gateway.alerts.recent == ()


def test_a_budget_that_refuses_is_used_up_whatever_is_left() -> None:
    stepped = Stepped(Budget("team", 2 * WORST + 1, DAY, alert_at=(0.5, 1.0)))
    stepped.begin(), stepped.begin()
    assert stepped.told.alerts == []
    assert isinstance(stepped.begin()[2], RequestDenied)
    assert [alert.severity for alert in stepped.told.alerts] == ["critical"]
    assert isinstance(stepped.begin()[2], RequestDenied)
    assert len(stepped.told.alerts) == 1


def test_a_call_that_is_dearer_than_the_whole_budget_does_not_use_it_up() -> None:
    stepped = Stepped(Budget("team", WORST - 1, DAY, alert_at=(1.0,)))
    assert isinstance(stepped.begin()[2], RequestDenied)
    assert stepped.told.alerts == []


def test_a_soft_limit_may_be_passed_and_says_so() -> None:
    stepped = Stepped(Budget("team", WORST, DAY, hard=False, alert_at=(1.0, 2.0)))
    for _ in range(3):
        stepped.spend(WORST)
    assert [alert.facts["threshold"] for alert in stepped.told.alerts] == [1.0, 2.0]


def test_alerts_on_calls_at_once_are_over_when_it_is_calm_again() -> None:
    stepped = Stepped(ConcurrencyLimit("team", 4, alert_at=(1.0,)))
    begun = [stepped.begin() for _ in range(4)]
    assert stepped.told.short == [("budget_threshold", "concurrency:team:search 100%", False)]
    for call, attempt, _ in begun[:3]:
        stepped.end(call, attempt, 0)
    stepped.begin()
    assert stepped.told.short[1:] == [("budget_threshold", "concurrency:team:search 100%", True)]


def test_a_rolling_budget_that_has_calmed_down_is_told_anew() -> None:
    stepped = Stepped(Budget("team", 100 * WORST, Rolling(3_600.0), alert_at=(0.5,)))
    stepped.spend(60 * WORST)
    stepped.advance(3_700)
    stepped.spend(1)
    stepped.spend(1)
    assert [resolved for _, _, resolved in stepped.told.short] == [False, True]
    assert stepped.told.alerts[-1].summary.endswith("of team 'search' is well below 50% again")
    stepped.spend(60 * WORST)
    assert [resolved for _, _, resolved in stepped.told.short] == [False, True, False]


def test_a_limit_in_shadow_is_told_once_per_window() -> None:
    stepped = Stepped(RequestLimit("user", 1, 60.0, shadow=True))
    for _ in range(4):
        stepped.spend(0)
    assert stepped.told.short == [("limit_shadow", "shadow-requests:user:60s:ada", False)]
    assert "would have refused a call" in stepped.told.alerts[0].summary
    stepped.advance(60)
    for _ in range(2):
        stepped.spend(0)
    assert [resolved for _, _, resolved in stepped.told.short] == [False, True, False]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (RequestLimit("global", 100, 60.0), ["limits_apart"]),
        (RequestLimit("global", 100, 60.0, shadow=True), []),
        (Budget("global", 10**9, DAY, hard=False), []),
    ],
    ids=["hard", "in shadow", "soft"],
)
def test_a_hard_limit_in_memory_tells_that_another_process_writes_the_same_books(
    limit: Limit, told: list[str], tmp_path: Path
) -> None:
    clock = VirtualClock()
    own, other = (open_ledger(f"sqlite:///{tmp_path}/books.db") for _ in range(2))
    gateway = Gateway(
        [A],
        transport=ScriptedProvider(default="ok"),
        plugins=[Limits([limit])],
        ledger=own,
        clock=clock,
        sleeper=VirtualSleeper(clock),
    )
    other.open_attempt(intent("another"))
    gateway.complete("fast", "hi")
    assert gateway.alerts.recent == (), "it may be one that makes room for this"
    clock.advance(60)
    gateway.complete("fast", "hi")
    gateway.complete("fast", "hi")
    assert [one.kind for one in gateway.alerts.recent] == told
    assert all("1 more write to the same ledger" in one.summary for one in gateway.alerts.recent)
    other.close()
    clock.advance(3_600)
    gateway.complete("fast", "hi")
    assert [one.resolved for one in gateway.alerts.recent] == [False, True][: 2 * len(told)]
    own.close()


# ------------------------------------------------------------ a state that is away


class Away:
    """A state that can be switched off."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.away, self.error = inner, True, StorageError("redis://secret@host is away")

    def reserve(self, *given: Any, **named: Any) -> Any:
        if self.away:
            raise self.error
        return self.inner.reserve(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_state_that_is_away_is_told_once_and_hard_limits_deny() -> None:
    plain = some_services()
    state = Away(plain.state)
    services = replace(plain, state=state)
    hard = Stepped(RequestLimit("user", 5, 60.0), services=services)
    denials = [hard.begin()[2] for _ in range(3)]
    assert [denied.code for denied in denials] == ["budget_unavailable"] * 3
    assert "secret" not in str(denials[0])
    assert hard.told.short == [("state_unavailable", "limits", False)]
    state.away = False
    assert hard.begin()[2] is None
    assert hard.told.short[1:] == [("state_unavailable", "limits", True)]


@pytest.mark.parametrize("error", [ConnectionError("no"), KeyError("a bug"), TimeoutError()])
def test_whatever_a_state_raises_lets_nothing_through_a_hard_limit(error: Exception) -> None:
    plain = some_services()
    state = Away(plain.state)
    state.error = error  # type: ignore[assignment]
    stepped = Stepped(RequestLimit("user", 5, 60.0), services=replace(plain, state=state))
    denied = stepped.begin()[2]
    assert isinstance(denied, RequestDenied)
    assert denied.__cause__ is error


@every_face
def test_without_hard_limits_calls_go_on_while_the_state_is_away(face: str) -> None:
    clock = VirtualClock()
    gateway = Gateway(
        [deployment("a")],
        transport=ScriptedProvider(default="fine"),
        clock=clock,
        state=Away(MemoryState(clock)),  # type: ignore[arg-type]
        plugins=[Limits([Budget("team", 1, DAY, hard=False), RequestLimit("user", 1, 60.0, shadow=True)])],
    )
    told = ask(face, gateway, context=TEAM)
    assert (told.text, told.record.problems) == ("fine", [])


# ------------------------------------------------------------ books that outlive the process


QUESTION = Request(
    model="fast", messages=(Message(role="user", content="hello there"),), params={"max_tokens": 20}
)
HOLD = worst_cost(deployment("a"), QUESTION, assume_output=20)


class Life:
    """One life of a process: a fresh memory over books that stay."""

    def __init__(self, file: Path, clock: VirtualClock, *limits: Limit, state: Any = None) -> None:
        self.ledger = open_ledger(f"sqlite:///{file}")
        self.sleeper = VirtualSleeper(clock)
        self.gateway = Gateway(
            [deployment("a")],
            transport=ScriptedProvider(default="hello to you"),
            plugins=[Limits(limits)],
            clock=clock,
            sleeper=self.sleeper,
            ledger=self.ledger,
            state=state,
        )


@pytest.mark.parametrize("window", [DAY, Rolling(86_400.0), Fixed(86_400.0)])
@every_face
def test_a_daily_budget_survives_a_restart(tmp_path: Path, face: str, window: Any) -> None:
    clock = VirtualClock()
    limits = [
        Budget("team", 3 * HOLD, window),
        TokenLimit(["team", "model"], 1_000, window),
        RequestLimit("user", 100, window),
        ConcurrencyLimit("user", 5),
    ]
    first = Life(tmp_path / "books.db", clock, *limits)
    denied = None
    while denied is None:
        denied = ask(face, first.gateway, QUESTION, context=TEAM).error
    before = {row.key: (row.spent, row.held) for row in first.gateway.limits}
    first.gateway.close()
    clock.advance(5)
    second = Life(tmp_path / "books.db", clock, *limits)
    told = ask(face, second.gateway, QUESTION, context=TEAM)
    assert isinstance(told.error, RequestDenied)
    assert {row.key: (row.spent, row.held) for row in second.gateway.limits} == before
    assert second.sleeper.slept == []
    assert ask(face, second.gateway, QUESTION, context=Context(team="other")).error is None
    clock.advance(2 * 86_400)
    assert ask(face, second.gateway, QUESTION, context=TEAM).error is None
    second.gateway.close()


def test_what_a_process_that_died_was_about_to_spend_is_held_and_then_counts_as_spent(tmp_path: Path) -> None:
    clock = VirtualClock()
    limit = Budget("team", 10 * HOLD, DAY)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'books.db'}")
    services = replace(some_services(), clock=clock, state=MemoryState(clock), ledger=ledger)
    limits, books = Limits([limit]), LedgerAccounting()
    call, attempt = a_call(QUESTION, TEAM, deadline=clock.monotonic() + 60), an_attempt(deployment("a"))

    async def dies() -> None:
        for plugin in (limits, books):
            answer: Any = plugin.begin_attempt(attempt, QUESTION, TEAM, call, services)  # type: ignore[attr-defined]
            if answer is not None:
                await (answer if hasattr(answer, "__await__") else asyncio.wrap_future(answer))

    asyncio.run(dies())
    ledger.close()
    life = Life(tmp_path / "books.db", clock, limit)
    assert ask("sync", life.gateway, QUESTION, context=TEAM).error is None
    cost = next(row["cost_nano_usd"] for row in life.ledger.attempts() if row["call_id"] != "call")
    (row,) = life.gateway.limits
    assert (row.spent, row.held) == (cost, HOLD)
    clock.advance(121)
    estimate = next(row for row in life.ledger.attempts() if row["call_id"] == "call")["estimate_nano_usd"]
    (row,) = life.gateway.limits
    assert (row.spent, row.held) == (cost + estimate, 0)
    life.gateway.close()


class Shared:
    """A state that is not this process's memory, with a look at how often it is asked."""

    def __init__(self, inner: MemoryState) -> None:
        self.inner = inner
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        whole = getattr(self.inner, name)

        def ask(*given: Any, **named: Any) -> Any:
            self.asked[name] += 1
            return whole(*given, **named)

        return ask


@every_face
def test_a_shared_state_that_has_just_begun_is_told_what_the_books_say_two_seconds_later(
    tmp_path: Path, face: str
) -> None:
    clock = VirtualClock()
    limit = RequestLimit("team", 2, DAY)
    first = Life(tmp_path / "books.db", clock, limit)
    assert ask(face, first.gateway, QUESTION, context=TEAM).error is None
    first.gateway.close()
    state = Shared(MemoryState(clock))
    second = Life(tmp_path / "books.db", clock, limit, state=state)
    assert ask(face, second.gateway, QUESTION, context=TEAM).error is None
    assert second.sleeper.slept == [pytest.approx(2.0)]
    assert (state.asked["reserve"], state.asked["seed"]) == (3, 1)
    assert isinstance(ask(face, second.gateway, QUESTION, context=TEAM).error, RequestDenied)
    assert (state.asked["reserve"], state.asked["seed"]) == (4, 1)
    second.gateway.close()


@pytest.mark.parametrize("skew", [-3_600.0, 3_600.0])
def test_clocks_that_disagree_change_nothing_in_that(tmp_path: Path, skew: float) -> None:
    clock = VirtualClock()

    class Theirs:
        """The clock of the state's server."""

        monotonic = staticmethod(clock.monotonic)

        @staticmethod
        def time() -> float:
            return clock.time() + skew

    state = Shared(MemoryState(Theirs()))  # type: ignore[arg-type]
    life = Life(tmp_path / "books.db", clock, RequestLimit("team", 2, DAY), state=state)
    assert ask("sync", life.gateway, QUESTION, context=TEAM).error is None
    assert life.sleeper.slept == [pytest.approx(2.0)]
    life.gateway.close()


class Counting(MemoryLedger):
    """Books that outlive the process, as far as anybody can tell."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.fails = 0

    async def standing(self, where: Any, **named: Any) -> Any:  # type: ignore[override]
        self.read[repr(dict(where))] += 1
        await asyncio.sleep(0.01)
        if self.fails > 0:
            self.fails -= 1
            raise StorageError("the books cannot be read")
        return super().standing(where, **named)


def asked_at_once(ledger: Counting, calls: int) -> list[Any]:
    gateway = Gateway(
        [deployment("a")],
        transport=ScriptedProvider(default="fine"),
        plugins=[Limits([RequestLimit("team", 1_000, DAY), Budget("user", 10**15, DAY)])],
        ledger=ledger,
    )

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(
            *(gateway.acomplete(QUESTION, context=TEAM) for _ in range(calls)), return_exceptions=True
        )

    with ThreadPoolExecutor(4) as threads:
        others = [threads.submit(gateway.complete, QUESTION, context=TEAM) for _ in range(4)]
        here = asyncio.run(all_of_them())
    return [*here, *(one.exception() or one.result() for one in others)]


@pytest.mark.parametrize("scope", ["tag:job", "extra:desk", "user"])
@every_face
def test_what_was_used_before_is_counted_from_the_books_whatever_it_is_for(scope: str, face: str) -> None:
    clock = VirtualClock()
    ledger = Counting()
    tags, context = {"job": "nightly"}, Context(user="ada", extra={"desk": "7"})

    def life() -> Any:
        gateway = Gateway(
            [deployment("a")],
            transport=ScriptedProvider(default="fine"),
            plugins=[Limits([RequestLimit(scope, 2, DAY)])],
            ledger=ledger,
            clock=clock,
        )
        return ask(face, gateway, context=context, tags=tags).error

    assert [life() is None for _ in range(3)] == [True, True, False]
    tags, context = {"job": "daily"}, Context(user="bob", extra={"desk": "8"})
    assert life() is None


def test_many_calls_at_once_read_the_books_once_for_each_count() -> None:
    ledger = Counting()
    answers = asked_at_once(ledger, 40)
    assert [answer.text for answer in answers] == ["fine"] * 44
    assert ledger.read == {"{'team': 'search'}": 1, "{'user_id': 'ada'}": 1}


def test_books_that_cannot_be_read_let_nothing_through_and_are_read_again() -> None:
    ledger = Counting()
    ledger.fails = 1
    answers = asked_at_once(ledger, 4)
    denied = [answer for answer in answers if isinstance(answer, RequestDenied)]
    assert {one.code for one in denied} == {"budget_unavailable"}
    assert 1 <= len(denied) < len(answers)
    assert all(answer.text == "fine" for answer in answers if answer not in denied)


def test_books_that_end_with_the_process_are_not_read() -> None:
    class Never(MemoryLedger):
        def standing(self, *given: Any, **named: Any) -> Any:
            raise AssertionError("nobody needs to know")

    gateway = Gateway(
        [deployment("a")],
        transport=ScriptedProvider(default="fine"),
        plugins=[Limits([RequestLimit("team", 10, DAY)])],
        ledger=Never(),
    )
    assert gateway.complete(QUESTION, context=TEAM).text == "fine"


# ------------------------------------------------------------ always


class LimitsMachine(RuleBasedStateMachine):
    """Calls that begin, end, are cancelled, skipped, or are never heard of again, in any order."""

    CAP = 6

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.state, self.ledger = MemoryState(self.clock), MemoryLedger()
        self.services = Services(
            clock=self.clock,
            random=random.Random(0),
            sleeper=VirtualSleeper(self.clock),
            state=self.state,
            ledger=self.ledger,
        )
        self.budget = Budget("team", self.CAP * WORST, Fixed(1e9))
        self.requests = RequestLimit("team", 40, Fixed(1e9))
        self.slots = ConcurrencyLimit("team", 4)
        self.limits = Limits([self.budget, self.requests, self.slots])
        self.books = LedgerAccounting()
        self.open: list[tuple[Call, Attempt]] = []
        self.lost = 0
        self.number = 0

    @rule(deadline=st.sampled_from([None, 5.0]))
    def begin(self, deadline: float | None) -> None:
        self.number += 1
        call = a_call(SHORT, TEAM, None if deadline is None else self.clock.monotonic() + deadline)
        call.id = f"call-{self.number}"
        attempt = an_attempt(A, call_id=call.id)
        try:
            answer = self.limits.begin_attempt(attempt, SHORT, TEAM, call, self.services)
        except RequestDenied:
            return
        assert not isinstance(answer, Skip | Wait)
        self.books.begin_attempt(attempt, SHORT, TEAM, call, self.services)
        self.open.append((call, attempt))

    @precondition(lambda self: self.open)
    @rule(
        place=st.integers(0, 9),
        part=st.floats(0, 1),
        status=st.sampled_from(["success", "error", "cancelled", "abandoned", "skipped"]),
    )
    def end(self, place: int, part: float, status: Any) -> None:
        call, attempt = self.open.pop(place % len(self.open))
        cost = 0 if status == "skipped" else int(WORST * part)
        outcome = Outcome(status=status, cost=cost, skipped="later" if status == "skipped" else None)
        for _ in range(2):  # the second time changes nothing
            self.limits.end_attempt(attempt, outcome, call, self.services)
        self.books.end_attempt(attempt, outcome, call, self.services)

    @precondition(lambda self: self.open)
    @rule()
    def dies(self) -> None:
        """Nobody settles it; long after its deadline it counts, and is booked, at its estimate."""
        self.open.clear()
        self.clock.advance(10_000)
        self.ledger.recover(older_than=5_000, now=self.clock.time())

    @invariant()
    def spent_and_held_stay_below_the_cap(self) -> None:
        for limit in (self.budget, self.requests, self.slots):
            spent, held = self.state.spent(limit.key("search"), window=limit.window)
            assert spent + held <= limit.limit
            assert min(spent, held) >= 0
        assert self.state.spent(self.slots.key("search"))[1] == len(self.open)

    @invariant()
    def at_rest_the_rows_are_what_was_counted(self) -> None:
        if self.open:
            return
        spent, held = self.state.spent(self.budget.key("search"), window=self.budget.window)
        rows = self.ledger.attempts()
        assert (spent, held) == (sum(row["cost_nano_usd"] for row in rows), 0)
        sent = sum(row["status"] != "skipped" for row in rows)
        assert self.state.spent(self.requests.key("search"), window=self.requests.window) == (sent, 0)


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def fits(worst: int, cap: int) -> int:
    return math.floor(cap / worst)


@pytest.mark.parametrize("run", ["tasks", "threads"])
def test_a_cap_worth_twenty_calls_lets_twenty_in_at_once(run: str) -> None:
    cap = 20 * HOLD
    clock = VirtualClock()
    gateway = Gateway(
        [deployment("a")],
        transport=ScriptedProvider(default="hello to you"),
        plugins=[Limits([Budget("global", cap, DAY)])],
        clock=clock,
        state=MemoryState(clock),
    )

    def outcome(answer: Callable[[], Any]) -> str:
        try:
            return str(answer().text)
        except RequestDenied:
            return "denied"

    if run == "threads":
        with ThreadPoolExecutor(32) as threads:
            answers = list(threads.map(lambda _: outcome(lambda: gateway.complete(QUESTION)), range(400)))
    else:

        async def main() -> list[str]:
            async def one() -> str:
                try:
                    return (await gateway.acomplete(QUESTION)).text
                except RequestDenied:
                    return "denied"

            return await asyncio.gather(*(one() for _ in range(200)))

        answers = asyncio.run(main())
    (row,) = gateway.limits
    spent = sum(one["cost_nano_usd"] for one in gateway.services.ledger.attempts())
    assert (row.spent, row.held) == (spent, 0)
    assert spent <= cap
    assert answers.count("hello to you") >= fits(HOLD, cap)
