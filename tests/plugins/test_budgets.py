"""Budgets: held before, settled after, never passed, and keyed by the trusted context alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ask
from support.gateways import deployment, scene
from support.values import DEAR, a_call, a_deployment, a_request, an_attempt, some_services

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Skip
from llmgate_plugins.errors import PluginRefused, RequestDenied, StorageError
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.plugins import Budget, Limits, RequestLimit
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.services import Services
from llmgate_plugins.types import NANO, Deployment, Outcome, Price, PriceTier, Request, Response, Usage
from llmgate_plugins.usage import estimate_usage
from llmgate_plugins.windows import Rolling

DAY = 86_400.0
TEAM = Context(team="search")
A = a_deployment("a", price=DEAR)
CHEAP = a_deployment("cheap", price=Price(input=100_000_000, output=400_000_000))
SHORT = a_request("hi", params={"max_tokens": 100})
WORST = worst_cost(A, SHORT, assume_output=4096)
SKIP = "skipped"
DENIED = "denied"


class Spending:
    """Attempts of many calls against one budget."""

    def __init__(self, budget: Budget, services: Services | None = None) -> None:
        self.budget = budget
        self.plugin = Limits([budget])
        self.services = services or some_services()
        self.numbers: Iterator[int] = iter(range(1, 1_000_000))

    def begin(
        self, context: Context = TEAM, deployment: Deployment = A, untried: tuple[Deployment, ...] = ()
    ) -> tuple[Call, Any]:
        """The call, and None if its attempt is held; else whether it is skipped or denied."""
        call = a_call(SHORT, context)
        call.id, call.untried = f"call-{next(self.numbers)}", untried
        attempt = an_attempt(deployment, call_id=call.id)
        try:
            answer = self.plugin.begin_attempt(attempt, SHORT, context, call, self.services)
        except RequestDenied:
            return call, DENIED
        return call, SKIP if isinstance(answer, Skip) else answer

    def end(self, call: Call, cost: int, status: Any = "success") -> None:
        outcome = Outcome(status=status, cost=cost)
        self.plugin.end_attempt(an_attempt(A), outcome, call, self.services)

    def books(self, who: str | None = "search") -> Any:
        return self.services.state.spent(self.budget.key(who), window=self.budget.window)


def test_the_worst_case_is_held_and_the_cost_is_booked() -> None:
    spending = Spending(Budget("team", NANO, DAY))
    call, answer = spending.begin()
    assert answer is None
    assert spending.books() == (0, WORST)
    spending.end(call, 1234)
    assert spending.books() == (1234, 0)


def test_what_does_not_fit_is_skipped_where_another_fits_and_frees_up_again() -> None:
    spending = Spending(Budget("team", WORST * 2 + 1_000_000, DAY))
    (one, _), (_, second) = spending.begin(), spending.begin()
    assert (second, spending.begin(untried=(CHEAP,))[1], spending.begin()[1]) == (None, SKIP, DENIED)
    spending.end(one, WORST - 1)
    assert spending.begin(untried=(CHEAP,))[1] == SKIP
    assert spending.begin(deployment=CHEAP)[1] is None


def test_when_all_is_spent_calls_are_denied_until_the_window_ends() -> None:
    spending = Spending(Budget("team", WORST, DAY))
    call, _ = spending.begin()
    spending.end(call, WORST)
    with pytest.raises(RequestDenied) as denied:
        spending.plugin.begin_attempt(an_attempt(A), SHORT, TEAM, a_call(SHORT, TEAM), spending.services)
    now = spending.services.clock.time()
    assert denied.value.code == "budget"
    assert denied.value.retry_at == (math.floor(now / DAY) + 1) * DAY
    told = str(denied.value)
    assert told.startswith("the budget of 0.0016 USD per day of team 'search' is used up: nothing is left")
    assert "it resets at 20" in told
    spending.services.clock.advance(DAY)  # type: ignore[attr-defined]
    assert spending.begin()[1] is None


@pytest.mark.parametrize("window", [DAY, Rolling(DAY)])
def test_a_call_that_fits_into_no_window_is_not_told_to_come_back(window: Any) -> None:
    spending = Spending(Budget("team", WORST - 1, window))
    with pytest.raises(RequestDenied) as denied:
        spending.plugin.begin_attempt(an_attempt(A), SHORT, TEAM, a_call(SHORT, TEAM), spending.services)
    assert (denied.value.code, denied.value.retry_at) == ("budget", None)
    told = str(denied.value)
    assert "of team 'search' is less than this call may use: 0.0016 USD" in told
    assert "max_tokens" in told
    assert "used up" not in told
    assert "reset" not in told

    of_model = Spending(Budget("model", WORST - 1, window))
    answer = of_model.plugin.begin_attempt(an_attempt(A), SHORT, TEAM, a_call(SHORT, TEAM), of_model.services)
    assert answer == Skip("budget")


def test_each_team_has_its_own_budget_and_nameless_calls_share_one() -> None:
    spending = Spending(Budget("team", WORST, DAY))
    assert spending.begin()[1] is None
    assert spending.begin(Context(team="other"))[1] is None
    assert spending.begin(Context())[1] is None
    assert spending.begin(Context(user="somebody"))[1] == DENIED
    assert spending.books(None) == (0, WORST)


def test_a_global_budget_is_one_for_all() -> None:
    spending = Spending(Budget("global", WORST, DAY))
    assert spending.begin()[1] is None
    assert spending.begin(Context(team="other"))[1] == DENIED


def test_tags_buy_nothing() -> None:
    limits, request = Limits([Budget("team", WORST, DAY)]), SHORT.replace(tags={"team": "other"})
    services = some_services()
    assert limits.begin_attempt(an_attempt(A), request, TEAM, a_call(request, TEAM), services) is None
    with pytest.raises(RequestDenied):
        limits.begin_attempt(an_attempt(A, 2), request, TEAM, a_call(request, TEAM), services)


def test_a_shadow_of_a_call_eats_no_budget_but_one_for_shadows() -> None:
    def room(budget: Budget, shadow_of: str | None) -> int:
        spending = Spending(budget)
        call = a_call(SHORT, TEAM)
        call.record.shadow_of = shadow_of
        attempt = an_attempt(A, call_id=call.id)
        spending.plugin.begin_attempt(attempt, SHORT, TEAM, call, spending.services)
        return int(spending.books()[1])

    plain = Budget("team", NANO, DAY)
    only = Budget("team", NANO, DAY, shadow_calls="only")
    both = Budget("team", NANO, DAY, shadow_calls="with")
    assert [room(one, None) for one in (plain, only, both)] == [WORST, 0, WORST]
    assert [room(one, "c0") for one in (plain, only, both)] == [0, WORST, WORST]
    assert len({one.key("search") for one in (plain, only, both)}) == 3
    Limits([plain, only, both])  # they may stand beside each other
    with pytest.raises(ValueError, match="without, with or only"):
        Budget("team", NANO, DAY, shadow_calls="never")  # type: ignore[arg-type]


def test_providers_count_shadows_like_any_call_and_so_do_limits_of_what_is_sent() -> None:
    assert RequestLimit("provider", 5, 60.0).counted == "with"
    assert RequestLimit("provider", 5, 60.0, shadow_calls="without").counted == "without"
    assert (RequestLimit("team", 5, 60.0).counted, Budget("provider", NANO, DAY).counted) == ("without",) * 2


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


def test_a_soft_budget_books_and_refuses_nothing() -> None:
    spending = Spending(Budget("team", WORST, DAY, hard=False))
    calls = [spending.begin() for _ in range(3)]
    assert [answer for _, answer in calls] == [None] * 3
    assert spending.books() == (0, 0)
    for call, _ in calls:
        spending.end(call, WORST)
    assert spending.books() == (3 * WORST, 0)
    assert spending.begin()[1] is None


def ranked(spending: Spending, call: Call | None = None) -> list[str] | None:
    call = call or a_call(SHORT, TEAM)
    ranking: Any = spending.plugin.rank_deployments(SHORT, (A, CHEAP), TEAM, call, spending.services)
    return None if ranking is None else [one.id for one in ranking.order]


def test_near_the_end_the_cheapest_is_preferred_if_that_is_wanted() -> None:
    spending = Spending(Budget("team", WORST * 2, DAY, on_exhausted="cheapest"))
    assert ranked(spending) is None
    spending.begin()
    spending.begin(deployment=CHEAP)
    assert ranked(spending) == ["cheap", "a"]
    plain = Spending(Budget("team", WORST * 2, DAY))
    plain.begin(), plain.begin()
    assert ranked(plain) is None


def test_what_has_ended_is_room_again() -> None:
    spending = Spending(Budget("team", WORST * 2, DAY, on_exhausted="cheapest"))
    calls = [spending.begin()[0] for _ in range(2)]
    assert ranked(spending) == ["cheap", "a"]
    for call in calls:
        spending.end(call, 1)
    assert ranked(spending) is None


def test_a_soft_budget_that_degrades_never_denies() -> None:
    spending = Spending(Budget("team", WORST, DAY, hard=False, on_exhausted="cheapest"))
    call, _ = spending.begin()
    assert ranked(spending) is None
    spending.end(call, 5 * WORST)
    assert ranked(spending) == ["cheap", "a"]
    assert spending.begin()[1] is None


class Broken:
    """A state that cannot be asked."""

    def reserve(self, *given: Any, **named: Any) -> Any:
        raise StorageError("gone")


class BrokenLater:
    async def reserve(self, *given: Any, **named: Any) -> Any:
        raise StorageError("gone")


@pytest.mark.parametrize("state", [Broken(), BrokenLater()])
async def test_a_hard_budget_sends_nothing_when_the_state_cannot_be_asked(state: Any) -> None:
    async def begun(hard: bool) -> Any:
        services = replace(some_services(), state=state)
        limits = Limits([Budget("team", NANO, DAY, hard)])
        answer: Any = limits.begin_attempt(an_attempt(A), SHORT, TEAM, a_call(SHORT, TEAM), services)
        return await answer if hasattr(answer, "__await__") else answer

    assert await begun(hard=False) is None
    with pytest.raises(RequestDenied) as denied:
        await begun(hard=True)
    assert denied.value.code == "budget_unavailable"


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
    limits = Limits([Budget("team", WORST, DAY)])
    call, attempt = a_call(SHORT, TEAM), an_attempt(A)
    assert await limits.begin_attempt(attempt, SHORT, TEAM, call, services) is None  # type: ignore[misc]
    again = an_attempt(A, 2)
    with pytest.raises(RequestDenied):
        await limits.begin_attempt(again, SHORT, TEAM, call, services)  # type: ignore[misc]
    settled = limits.end_attempt(attempt, Outcome(status="success", cost=WORST), call, services)
    assert (await asyncio.wrap_future(settled) if future else await settled) is True


async def test_a_caller_who_leaves_while_the_state_is_asked_gives_back_what_it_grants() -> None:
    plain, limit = some_services(), Budget("team", WORST, DAY)
    asked = asyncio.Event()

    class Granting:
        """Grants, and its answer is lost."""

        release = staticmethod(plain.state.release)

        async def reserve(self, *given: Any, **named: Any) -> Any:
            plain.state.reserve(*given, **named)
            asked.set()
            await asyncio.Event().wait()

    services, limits = replace(plain, state=Granting()), Limits([limit])  # type: ignore[arg-type]
    call = a_call(SHORT, TEAM)
    answer: Any = limits.begin_attempt(an_attempt(A), SHORT, TEAM, call, services)
    leaving = asyncio.ensure_future(answer)
    await asked.wait()
    assert plain.state.spent(limit.key("search"), window=limit.window) == (0, WORST)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    assert limits.end_call(call, services) is None
    assert plain.state.spent(limit.key("search"), window=limit.window) == (0, 0)


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
        (a_request("", params={"max_tokens": 10, "best_of": 3}), 16 + 30 * 5),
        (a_request("", params={"max_tokens": 10, "n": 2, "best_of": 3}), 16 + 30 * 5),
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


@pytest.mark.parametrize("face", ["sync", "async", "stepped", "astepped"])
def test_of_an_embedding_every_input_is_held_and_booked(face: str) -> None:
    texts = ["word " * 100] * 50
    one = deployment("a", context_window=200)  # for each of them
    answers = [Response.of("", usage=Usage(input=5_050)), TimeoutError("silent")]
    here = scene({"a": answers}, Limits([Budget("global", NANO, DAY)]), deployments=[one])
    request = Request(model="fast", operation="embedding", params={"input": texts})
    for _ in answers:
        ask(face, here.gateway, request)
    told, silent, *_ = here.ledger.attempts()
    assert told["reserve_nano_usd"] >= told["cost_nano_usd"] == 5_050
    assert silent["reserve_nano_usd"] >= silent["cost_nano_usd"] == pytest.approx(50 * 125, rel=0.05)
    assert told["estimate_nano_usd"] == pytest.approx(50 * 125, rel=0.05)


def test_the_worst_case_is_at_the_dearest_price_that_may_apply() -> None:
    long = PriceTier(above=1_000, price=Price(input=6_000_000_000, output=22_500_000_000))
    fast = PriceTier(variant="priority", price=Price(input=30_000_000_000, output=30_000_000_000))
    price = Price(input=3_000_000_000, cache_write=3_750_000_000, output=15_000_000_000, tiers=(fast, long))
    one = a_deployment("tiers", price=price)
    params = {"max_tokens": 10}
    assert worst_cost(one, a_request("", params=params), assume_output=1) == 16 * 3_750 + 10 * 15_000
    many = a_request("x" * 4_000, params=params)
    assert worst_cost(one, many, assume_output=1) == 4_016 * 6_000 + 10 * 22_500
    served = a_request("", params={**params, "service_tier": "priority"})
    assert worst_cost(one, served, assume_output=1) == 26 * 30_000


def test_sound_and_pictures_count_where_a_request_may_have_some() -> None:
    price = Price(input=1_000_000, audio_input=40_000_000, output=2_000_000, audio_output=80_000_000)
    voice, params = a_deployment("voice", price=price), {"max_tokens": 10}
    assert worst_cost(voice, a_request("", params=params), assume_output=1) == 16 + 20
    asked = a_request("", params={**params, "modalities": ["text", "audio"]})
    assert worst_cost(voice, asked, assume_output=1) == 16 * 40 + 10 * 80


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"scope": "nation"}, "scope"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"window": 0}, "window"),
        ({"window": float("inf")}, "window"),
        ({"window": None}, "window"),
        ({"on_exhausted": "panic"}, "on_exhausted"),
        ({"alert_at": (0.5, 0)}, "alert_at"),
        ({"assume_output": 0}, "assume_output"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Budget(**({"scope": "team", "limit": NANO, "window": DAY} | arguments))


def test_a_budget_is_a_limit_and_no_plugin() -> None:
    with pytest.raises(PluginRefused, match=r"write Limits\(\[...\]\) around it"):
        Gateway(plugins=[Budget("team", NANO, DAY)])


def test_without_any_limit_there_is_no_such_plugin() -> None:
    assert "Limits" not in dict(Gateway().plugins)
    with_limit = list(dict(Gateway(plugins=[Limits([Budget("team", NANO, DAY)])]).plugins))
    assert with_limit.index("Limits") + 1 == with_limit.index("LedgerAccounting")


TWICE = Price(input=6_000_000_000, output=30_000_000_000)
SERVED = Price(
    input=3_000_000_000,
    cache_write_1h=6_000_000_000,
    output=15_000_000_000,
    tiers=tuple(PriceTier(variant=word, price=TWICE) for word in ("fast", "priority", "us")),
)
KEPT = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    "params",
    [
        {"service_tier": "priority"},
        {"speed": "fast"},
        {"inference_geo": "us"},
        {"extra_body": {"speed": "fast"}},
    ],
)
@pytest.mark.parametrize("where", ["call", "configuration"])
def test_the_worst_case_is_at_the_tier_that_is_asked_for_wherever_that_stands(
    where: str, params: dict[str, Any]
) -> None:
    length = {"max_tokens": 10}
    asked, fixed = ({**length, **params}, {}) if where == "call" else (length, params)
    one = a_deployment("tiers", price=SERVED, params=fixed)
    assert worst_cost(one, a_request("", params=asked), assume_output=1) == 16 * 6_000 + 10 * 30_000


@pytest.mark.parametrize(
    ("fixed", "asked", "written"),
    [
        ({"n": 5}, {"max_tokens": 10}, 50),
        ({"max_completion_tokens": 4_000}, {"max_tokens": 10}, 10),
        ({"max_tokens": 10}, {"max_completion_tokens": 4_000}, 4_000),
        ({"max_tokens": 10}, {"max_tokens": None}, 4_096),
        ({"max_tokens": 10}, {"extra_body": {"max_completion_tokens": 9_000}}, 9_000),
        ({}, {"max_output_tokens": 9_000}, 9_000),
    ],
)
def test_the_longest_answer_is_that_of_what_is_sent(
    fixed: dict[str, Any], asked: dict[str, Any], written: int
) -> None:
    one = a_deployment("fixed", price=SERVED, params=fixed)
    assert worst_cost(one, a_request("", params=asked), assume_output=4_096) == 16 * 3_000 + written * 15_000


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [{"name": "f", **KEPT}]},
        {"tools": [{"type": "function", "function": {"name": "f", **KEPT}}]},
        {"system": [{"type": "text", "text": "Be brief.", **KEPT}]},
        KEPT,
    ],
)
def test_what_the_cache_is_to_keep_for_an_hour_is_held_at_the_price_of_an_hour(
    params: dict[str, Any],
) -> None:
    short, asked = a_deployment("p", price=Price(input=6_000_000_000)), a_request("hi", params=params)
    assert worst_cost(a_deployment("k", price=SERVED), asked, assume_output=0) == worst_cost(
        short, asked, assume_output=0
    )


@pytest.mark.parametrize("where", ["call", "configuration"])
def test_a_summary_that_may_be_made_first_is_held_as_a_second_answer(where: str) -> None:
    compacts = {"context_management": {"edits": [{"type": "compact_20260112"}]}}
    clears = {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
    plain = worst_cost(A, a_request("x" * 99, params={"max_tokens": 10}), assume_output=1)
    for said, times in ((compacts, 2), (clears, 1)):
        asked, fixed = (said, {}) if where == "call" else ({}, said)
        one, request = a_deployment("a", price=DEAR, params=fixed), a_request("x" * 99)
        held = worst_cost(one, request.replace(params={"max_tokens": 10, **asked}), assume_output=1)
        assert held == times * plain


@pytest.mark.parametrize("name", ["system", "instructions"])
def test_instructions_beside_the_messages_are_part_of_the_worst_case_and_of_the_estimate(name: str) -> None:
    asked = a_request("", params={name: "x" * 1_000, "max_tokens": 10})
    assert worst_cost(A, asked, assume_output=1) == (1_016 + 10 * 5) * 3_000
    assert estimate_usage(asked, 0).input >= 250


def test_a_text_that_the_messages_say_already_is_not_counted_twice() -> None:
    asked = a_request("x" * 400, operation="responses", params={"input": "x" * 400, "max_output_tokens": 10})
    assert worst_cost(A, asked, assume_output=1) == (416 + 10 * 5) * 3_000
    assert estimate_usage(asked, 0).input == 100
