"""How deployments are put in order by price, speed, reliability and weights of these."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.choosing import Choosing
from support.faces import ask, every_face
from support.gateways import scene
from support.values import DEAR, a_deployment, a_request

from llmgate_plugins import Gateway, Scores, hookimpl
from llmgate_plugins.context import Context
from llmgate_plugins.money import PriceTier
from llmgate_plugins.plugins import Cheapest, Fastest
from llmgate_plugins.plugins.preferences import (
    MostReliable,
    Named,
    Weighing,
    expected_cost,
    preference_of,
)
from llmgate_plugins.policies import Policy
from llmgate_plugins.types import (
    Deployment,
    ErrorClass,
    LazyMessages,
    Price,
    Quote,
    Request,
    Scope,
    Usage,
)

A, B, C = a_deployment("a"), a_deployment("b"), a_deployment("c")
USD = 1_000_000_000


def a_price(input: float, output: float, **fields: Any) -> Price:
    """US dollars per million tokens."""
    return Price(input=int(input * USD), output=int(output * USD), **fields)


# ---------------------------------------------------------------- price


def test_the_cheapest_is_first_and_the_unpriced_last() -> None:
    cheap = a_deployment("cheap", price=a_price(0.1, 0.4))
    dear = a_deployment("dear", price=DEAR)
    ranking = Choosing(Cheapest()).ranking(A, dear, cheap, request=a_request("x" * 4_000))
    assert [one.id for one in ranking.order] == ["cheap", "dear", "a"]
    # 1,000 tokens read, 256 written
    assert ranking.scores == {
        "cheap": pytest.approx((1_000 * 0.1 + 256 * 0.4) / 1e6),
        "dear": pytest.approx((1_000 * 3 + 256 * 15) / 1e6),
    }
    assert ranking.state["dear"] == {"input_tokens": 1_000, "output_tokens": 256}


def test_the_cheapest_is_the_one_that_a_host_says_costs_least() -> None:
    dollars = {"a": 3, "b": 1}

    def quote(one: Deployment, _: Request) -> Quote | None:
        told = Usage(charged=dollars.get(one.id, 0) * USD, charged_by="host")
        return Quote(told, told) if one.id in dollars else None

    picture = a_request("a cat", operation="image_generation", quote=quote)
    ranking = Choosing(Cheapest()).ranking(A, C, B, request=picture)
    assert ([one.id for one in ranking.order], ranking.scores) == (["b", "a", "c"], {"b": 1.0, "a": 3.0})


def test_those_that_cost_the_same_stay_in_their_order() -> None:
    same = [a_deployment(name, price=a_price(1, 1)) for name in "dbca"]
    assert Choosing(Cheapest()).order(*same) == ["d", "b", "c", "a"]


def test_a_long_input_flips_which_one_is_cheaper() -> None:
    tiered = a_deployment(
        "tiered", price=a_price(1, 4, tiers=(PriceTier(above=200_000, price=a_price(4, 12)),))
    )
    flat = a_deployment("flat", price=a_price(2, 8))
    choosing = Choosing(Cheapest())
    assert choosing.order(flat, tiered, request=a_request("x" * 4 * 200_000)) == ["tiered", "flat"]
    long = "x" * 4 * 200_001
    assert choosing.order(flat, tiered, request=a_request(long)) == ["flat", "tiered"]
    unread = LazyMessages([{"role": "user", "content": long}], lambda _: pytest.fail("it was read"))
    assert choosing.order(flat, tiered, request=a_request().replace(messages=unread)) == ["flat", "tiered"]


def test_a_service_tier_has_its_own_price() -> None:
    flexible = a_deployment(
        "flexible", price=a_price(3, 9, tiers=(PriceTier(variant="flex", price=a_price(1, 3)),))
    )
    plain = a_deployment("plain", price=a_price(2, 6))
    choosing = Choosing(Cheapest())
    assert choosing.order(flexible, plain) == ["plain", "flexible"]
    assert choosing.order(flexible, plain, request=a_request(params={"service_tier": "flex"})) == [
        "flexible",
        "plain",
    ]


def test_a_model_that_writes_more_is_dearer_by_its_own_history() -> None:
    terse, wordy = a_deployment("terse", price=a_price(1, 10)), a_deployment("wordy", price=a_price(1, 5))
    choosing = Choosing(Cheapest())
    assert choosing.order(terse, wordy) == ["wordy", "terse"]
    for _ in range(30):
        choosing.saw(terse, output=100)
        choosing.saw(wordy, output=1_000)
    assert choosing.order(terse, wordy) == ["terse", "wordy"]
    bounded = a_request(params={"max_tokens": 50})
    assert choosing.order(terse, wordy, request=bounded) == ["wordy", "terse"]


def test_lengths_are_those_of_answers_to_the_same_feature() -> None:
    terse, wordy = a_deployment("terse", price=a_price(1, 10)), a_deployment("wordy", price=a_price(1, 5))
    titles, reports = Context(feature="titles"), Context(feature="reports")
    choosing = Choosing(Cheapest())
    for _ in range(30):
        choosing.saw(terse, output=10, context=titles)
        choosing.saw(wordy, output=10, context=titles)
        choosing.saw(terse, output=400, context=reports)
        choosing.saw(wordy, output=4_000, context=reports)
    assert choosing.order(terse, wordy, context=titles) == ["wordy", "terse"]
    assert choosing.order(terse, wordy, context=reports) == ["terse", "wordy"]


def test_what_a_model_reads_from_the_providers_cache_makes_it_cheaper() -> None:
    cached = a_deployment("cached", price=a_price(3, 5, cached_input=USD // 10))
    plain = a_deployment("plain", price=a_price(2, 5))
    request = a_request("x" * 40_000, params={"max_tokens": 1})
    choosing = Choosing(Cheapest())
    assert choosing.order(cached, plain, request=request) == ["plain", "cached"]
    for _ in range(20):
        choosing.saw(cached, usage=Usage(input=1_000, cached_input=9_000, output=1))
    assert choosing.order(cached, plain, request=request) == ["cached", "plain"]


PRICES = st.builds(
    a_price,
    st.sampled_from([0.05, 0.1, 0.5, 1.0, 3.0]),
    st.sampled_from([0.1, 0.4, 2.0, 15.0]),
    tiers=st.one_of(
        st.just(()),
        st.builds(
            lambda above, price: (PriceTier(above=above, price=price),),
            st.sampled_from([100, 1_000]),
            st.builds(a_price, st.sampled_from([0.01, 2.0]), st.sampled_from([0.1, 20.0])),
        ),
        st.builds(
            lambda variant, price: (PriceTier(variant=variant, price=price),),
            st.sampled_from(["flex", "fast"]),
            st.builds(a_price, st.sampled_from([0.01, 2.0]), st.sampled_from([0.1, 20.0])),
        ),
    ),
)


SAID = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 3_000),
        "max_completion_tokens": st.integers(1, 3_000),
        "n": st.integers(1, 4),
        "service_tier": st.sampled_from(["default", "flex"]),
        "speed": st.just("fast"),
        "temperature": st.just(0.5),
    },
)
PARAMS = st.builds(
    lambda said, extra: said if extra is None else {**said, "extra_body": extra}, SAID, st.none() | SAID
)


@given(
    st.lists(st.tuples(st.none() | PRICES, st.just({}) | PARAMS), min_size=1, max_size=40),
    st.integers(0, 8_000),
    PARAMS,
)
def test_the_order_by_cost_is_what_reckoning_with_each_deployment_gives(
    members: list[tuple[Price | None, dict[str, Any]]], characters: int, params: dict[str, Any]
) -> None:
    group = tuple(
        a_deployment(str(n), model=f"m{n % 3}", price=price, params=fixed)
        for n, (price, fixed) in enumerate(members)
    )
    choosing = Choosing(Cheapest())
    for n in range(6):
        choosing.saw(group[n % len(group)], output=50 * (n + 1))
    request = a_request("x" * characters, params=params)
    ranking = choosing.ranking(*group, request=request)
    costs = {one.id: expected_cost(one, request, None, choosing.store) for one in group}
    expected = sorted((cost, int(name)) for name, cost in costs.items() if cost is not None)
    found = [(costs[one.id], int(one.id)) for one in ranking.order if costs[one.id] is not None]
    assert [cost for cost, _ in found] == [cost for cost, _ in expected[: len(found)]]
    assert len(ranking.order) == min(len(group), 10)
    assert sorted(one.id for one in ranking.rest) == sorted(one.id for one in group)
    unpriced = [costs[one.id] is None for one in (*ranking.order, *ranking.rest)]
    assert unpriced[: len(ranking.order)] == sorted(unpriced[: len(ranking.order)])


@pytest.mark.parametrize(
    ("fixed", "asked"),
    [
        ({"n": 3}, {}),
        ({"max_tokens": 600}, {}),
        ({"service_tier": "priority"}, {}),
        ({"extra_body": {"speed": "fast"}}, {}),
        ({"extra_body": {"n": 3}}, {"n": 1}),
    ],
)
def test_what_its_own_configuration_asks_for_makes_one_dearer(
    fixed: dict[str, Any], asked: dict[str, Any]
) -> None:
    twice = tuple(PriceTier(variant=word, price=a_price(2, 8)) for word in ("priority", "fast"))
    price = a_price(1, 4, tiers=twice)
    given, bare = (
        a_deployment("given", model="m", price=price, params=fixed),
        a_deployment("bare", model="m", price=price),
    )
    choosing = Choosing(Cheapest())
    for _ in range(50):
        choosing.saw(bare, output=1_000)
    request = a_request(params=asked)
    if "max_tokens" in fixed:
        assert choosing.order(bare, given, request=request) == ["given", "bare"]
    else:
        assert choosing.order(given, bare, request=request) == ["bare", "given"]


def test_what_a_call_says_in_its_extra_body_counts_as_if_it_were_said_plainly() -> None:
    group = tuple(a_deployment(str(n), price=a_price(1 + n, 10 - 3 * n)) for n in range(3))
    choosing, said = Choosing(Cheapest()), {"max_tokens": 10_000, "n": 2}
    plain = choosing.ranking(*group, request=a_request(params=said))
    within = choosing.ranking(*group, request=a_request(params={"extra_body": said}))
    assert plain.scores == within.scores


def test_of_very_many_prices_the_cheapest_is_found_too() -> None:
    group = tuple(a_deployment(str(n), price=a_price(1 + n % 97, 3 + n % 89)) for n in range(2_000))
    choosing = Choosing(Cheapest())
    for characters in (40, 4_000, 400_000):
        request = a_request("x" * characters)
        costs = [expected_cost(one, request, None, choosing.store) for one in group]
        first = choosing.ranking(group=group, request=request).order[0]
        assert costs[int(first.id)] == min(cost for cost in costs if cost is not None)


def test_an_embedding_writes_nothing() -> None:
    one = a_deployment("one", price=a_price(1, 50))
    request = Request(model="fast", params={"input": ["x" * 400] * 10}, operation="embedding")
    assert expected_cost(one, request, None, None) == pytest.approx(1_000 * 1_000, rel=0.02)
    assert expected_cost(A, request, None, None) is None


# ---------------------------------------------------------------- speed


def test_the_fastest_is_first() -> None:
    choosing = Choosing(Fastest())
    for deployment, latency in ((A, 3.0), (B, 1.0), (C, 2.0)):
        choosing.saw(deployment, latency)
    ranking = choosing.ranking(A, B, C)
    assert [one.id for one in ranking.order] == ["b", "c", "a"]
    assert ranking.scores == {"a": 3.0, "b": 1.0, "c": 2.0}
    assert ranking.state["b"] == {"samples": 1.0, "expected_s": 1.0, "in_flight": 0}


def test_an_untried_one_is_explored_by_one_call_at_a_time() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    ranking = choosing.ranking(A, B)
    assert [one.id for one in ranking.order] == ["b", "a"]
    assert ranking.reason == "finding out about b"
    choosing.begin(B)
    assert choosing.order(A, B) == ["a", "b"]
    choosing.saw(B, 0.5)
    assert choosing.order(A, B) == ["b", "a"]


def test_the_unknown_is_tried_in_bounded_measure() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    firsts = choosing.firsts([A, B], 1_000)  # of b nothing is ever heard
    assert 8 + 1_000 // 20 - 2 <= firsts["b"] <= 8 + 1_000 // 20 + 2


def test_a_hypothetical_call_uses_up_no_trial() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    assert choosing.firsts([A, B], 100, hypothetical=True)["b"] == 100
    assert choosing.firsts([A, B], 8)["b"] == 8


def test_one_not_seen_for_five_minutes_is_explored_again() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    choosing.saw(B, 9.0)
    for _ in range(30):
        choosing.advance(10)
        choosing.saw(A, 1.0)
        assert choosing.order(A, B)[0] == "a"
    choosing.advance(1)
    assert choosing.order(A, B)[0] == "b"


def test_failing_fast_is_not_being_fast() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    choosing.saw(B, 2.0)
    for _ in range(50):
        choosing.failed(B)
    assert choosing.order(A, B) == ["a", "b"]


def test_a_stream_is_ranked_by_its_first_token() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 9.0, first_token=0.2)
    choosing.saw(B, 3.0, first_token=0.9)
    assert choosing.order(A, B, request=a_request(stream=True)) == ["a", "b"]
    assert choosing.order(A, B) == ["b", "a"]


def test_times_are_compared_for_answers_of_the_same_length() -> None:
    quick, slow = a_deployment("quick", model="m"), a_deployment("slow", model="m")
    long, short = Context(feature="long"), Context(feature="short")
    choosing = Choosing(Fastest())
    for n in range(40):
        for feature, output in ((long, 1_000 + n), (short, 20 + n)):
            choosing.saw(quick, 0.2 + 0.002 * output, output=output, context=feature)
        choosing.saw(slow, 0.3 + 0.01 * (20 + n), output=20 + n, context=short)
    # On average `slow` took less, and only because it was asked for less.
    assert choosing.store.of("slow").latency < choosing.store.of("quick").latency  # type: ignore[operator]
    assert choosing.order(quick, slow, context=long) == ["quick", "slow"]
    assert choosing.order(quick, slow, context=short) == ["quick", "slow"]


def test_what_was_slow_and_became_fast_is_found_out() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 5.0)
    choosing.saw(B, 1.0)
    for _ in range(40):
        choosing.advance(10)
        choosing.saw(A, 0.5)
        choosing.saw(B, 1.0)
    assert choosing.order(A, B) == ["a", "b"]


def test_those_that_are_about_as_fast_share_the_calls_and_the_slow_have_none() -> None:
    choosing = Choosing(Fastest())
    for deployment, latency in ((A, 1.0), (B, 1.2), (C, 1.3)):
        choosing.saw(deployment, latency)
    firsts = choosing.firsts([A, B, C], 4_000)
    # the better one of two draws with replacement among two: three times in four
    assert firsts["a"] / 4_000 == pytest.approx(0.75, abs=0.03)
    assert firsts["c"] == 0


def test_what_is_under_way_counts_where_it_is_more_than_usual() -> None:
    choosing = Choosing(Fastest())
    choosing.saw(A, 1.0)
    choosing.saw(B, 2.0)
    choosing.begin(A, 5)
    assert choosing.order(A, B) == ["a", "b"]
    choosing.begin(A, 20)
    assert choosing.order(A, B) == ["b", "a"]


def test_one_that_misses_its_goal_ranks_behind() -> None:
    choosing = Choosing(Fastest(p95=2.0))
    for n in range(40):
        choosing.saw(A, 10.0 if n % 5 == 0 else 0.1)
        choosing.saw(B, 1.95)
    ranking = choosing.ranking(A, B)
    assert [one.id for one in ranking.order] == ["b", "a"]
    assert ranking.reason.startswith("fastest first of those that keep p95 2 s:")


def test_fastest_is_safe_among_threads() -> None:
    choosing = Choosing(Fastest())

    def run() -> None:
        for _ in range(200):
            choosing.saw(A, 1.0)
            choosing.order(A, B, C)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(choosing.order(A, B, C)) == ["a", "b", "c"]
    assert choosing.store.of("a").in_flight == 0


@pytest.mark.parametrize("arguments", [{"p99": 0}, {"p95": -1}, {"p50": "1"}, {"success": 1.0}])
@pytest.mark.parametrize("kind", [Cheapest, Fastest, MostReliable])
def test_goals_that_make_no_sense_are_refused_by_name(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        kind(**arguments)


# ---------------------------------------------------------------- reliability


def test_three_answers_do_not_beat_three_thousand() -> None:
    choosing = Choosing(MostReliable())
    for _ in range(3):
        choosing.saw(A)
    for n in range(3_000):
        choosing.failed(B) if n % 600 == 0 else choosing.saw(B)
    choosing.begin(A)  # it is being found out about already
    ranking = choosing.ranking(A, B)
    assert [one.id for one in ranking.order] == ["b", "a"]
    assert ranking.state["a"]["success_low"] == pytest.approx(0.438, abs=0.001)  # Wilson, 3 of 3
    assert ranking.scores["b"] < 1.01


def test_only_what_a_deployment_is_to_blame_for_counts_against_it() -> None:
    choosing = Choosing(MostReliable())
    for _ in range(20):
        choosing.saw(A)
        choosing.saw(B)
        choosing.failed(A, Scope.CALLER)
        choosing.failed(A, Scope.REQUEST, error_class=ErrorClass.INVALID_REQUEST)
        choosing.failed(A, Scope.CREDENTIAL, error_class=ErrorClass.AUTHENTICATION)
        choosing.failed(A, Scope.MODEL, error_class=ErrorClass.RATE_LIMIT)
    choosing.failed(B, Scope.PROVIDER)
    assert choosing.order(A, B) == ["a", "b"]
    assert (choosing.store.of("a").failures, choosing.store.of("a").throttles) == (0, 20)


def test_failures_are_forgotten_in_time() -> None:
    choosing = Choosing(MostReliable())
    for _ in range(100):
        choosing.saw(A)
        choosing.saw(B)
    for _ in range(50):
        choosing.failed(B)
    assert choosing.order(B, A) == ["a", "b"]
    before = choosing.store.of("b").success
    for _ in range(120):
        choosing.advance(60)
        choosing.saw(A)
        choosing.saw(B)
    assert before == pytest.approx(2 / 3)
    assert choosing.store.of("b").success > 0.97  # type: ignore[operator]


# ---------------------------------------------------------------- several with weights


def test_half_the_price_makes_up_for_twice_the_time() -> None:
    cheap = a_deployment("cheap", price=a_price(1, 1))
    quick = a_deployment("quick", price=a_price(2, 2))
    choosing = Choosing(Weighing([Cheapest(), Fastest()], [0.5, 0.5]))
    for _ in range(30):
        choosing.saw(cheap, 2.0, output=10)
        choosing.saw(quick, 1.0, output=10)
    ranking = choosing.ranking(cheap, quick)
    assert ranking.scores == {"cheap": pytest.approx(2**0.5), "quick": pytest.approx(2**0.5)}
    assert ranking.parts == {
        "cheapest": {"cheap": 1.0, "quick": pytest.approx(2.0)},
        "fastest": {"cheap": 2.0, "quick": 1.0},
    }
    assert ranking.state["quick"].keys() >= {"input_tokens", "output_tokens", "expected_s", "samples"}


def test_the_weights_decide() -> None:
    cheap, quick = a_deployment("cheap", price=a_price(1, 1)), a_deployment("quick", price=a_price(2, 2))
    for weights, first in (((0.8, 0.2), "cheap"), ((0.2, 0.8), "quick")):
        choosing = Choosing(Weighing([Cheapest(), Fastest()], weights))
        for _ in range(30):
            choosing.saw(cheap, 2.0)
            choosing.saw(quick, 1.0)
        assert choosing.firsts([cheap, quick], 50)[first] == 50


@given(
    st.lists(st.tuples(st.floats(0.5, 100), st.floats(0.1, 60)), min_size=2, max_size=6),
    st.floats(0.1, 0.9),
    st.floats(0.01, 100),
)
def test_neither_units_nor_who_else_is_there_change_who_is_better(
    facts: list[tuple[float, float]], weight: float, factor: float
) -> None:
    def scores(facts: list[tuple[float, float]]) -> dict[str, float]:
        group = [a_deployment(str(n)) for n in range(len(facts))]
        price, time = (
            Fixed(name, {str(n): fact[place] for n, fact in enumerate(facts)})
            for place, name in enumerate(("price", "time"))
        )
        weighing = Weighing([price, time], [weight, 1 - weight])
        return dict(Choosing(weighing).ranking(*group).scores)

    found = scores(facts)
    scaled = scores([(price * factor, time) for price, time in facts])
    fewer = scores(facts[:2])
    for other in (scaled, fewer):
        ratio = (found["0"] / found["1"]) / (other["0"] / other["1"])
        assert ratio == pytest.approx(1.0, rel=1e-6)


class Fixed(Named):
    """Scores that are given."""

    def __init__(self, name: str, values: dict[str, float]) -> None:
        super().__init__(name)
        self.values = values

    def scores(self, *_: Any) -> Scores:
        return Scores(self.values)


def test_one_of_whom_a_preference_knows_nothing_counts_as_bad_there_and_is_tried() -> None:
    priced, unpriced = a_deployment("priced", price=a_price(1, 1)), a_deployment("unpriced")
    choosing = Choosing(preference_of("balanced", Policy()))
    for _ in range(30):
        choosing.saw(priced, 1.0)
        choosing.saw(unpriced, 1.0)
    ranking = choosing.ranking(priced, unpriced)
    assert [one.id for one in ranking.order] == ["priced", "unpriced"]
    assert ranking.scores["unpriced"] == pytest.approx(2 ** (1 / 3))
    assert ranking.parts["cheapest"] == {"priced": 1.0}
    assert choosing.order(priced, unpriced, A)[0] == "a"


@pytest.mark.parametrize("prefer", [{"ordered": 0.5, "fastest": 0.5}, {"weighted": 1.0}])
def test_what_has_no_scores_is_not_weighed(prefer: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="has no scores"):
        preference_of(prefer, Policy())


def test_a_mix_may_stand_in_a_mix() -> None:
    weighing: Any = preference_of({"balanced": 0.6, "cheapest": 0.4}, Policy())
    choosing = Choosing(weighing)
    one = a_deployment("one", price=a_price(1, 1))
    choosing.saw(one)
    assert set(choosing.ranking(one).parts) == {"cheapest", "fastest", "most_reliable"}


# ---------------------------------------------------------------- third parties


class Greenest:
    """Scores by a table; `later` from a coroutine."""

    def __init__(self, grams: dict[str, float]) -> None:
        self.grams = grams

    @hookimpl
    def score_deployments(self, preference: str) -> Scores | None:
        return Scores(self.grams, unit="gCO2") if preference == "greenest" else None


class LaterGreenest(Greenest):
    @hookimpl
    async def score_deployments(self, preference: str) -> Scores | None:
        await asyncio.sleep(0)
        return Greenest.score_deployments(self, preference)


@pytest.mark.parametrize("kind", [Greenest, LaterGreenest])
@pytest.mark.parametrize("prefer", ["greenest", {"greenest": 0.9, "fastest": 0.1}])
@every_face
def test_a_third_partys_preference_ranks_alone_and_among_others_on_every_face(
    face: str, prefer: Any, kind: type[Greenest]
) -> None:
    s = scene(
        {"a": ["a"] * 3, "b": ["b"] * 3},
        kind({"a": 50.0, "b": 1.0}),
        preference_of(prefer, Policy()),
    )
    for _ in range(3):
        told = ask(face, s.gateway)
    selection = told.record.selections[0]
    assert told.text == "b"
    assert told.record.problems == []
    assert selection.scores["b"] < selection.scores["a"]


@every_face
def test_a_preference_that_fails_leaves_the_configured_order(face: str) -> None:
    s = scene({"a": ["a"], "b": ["b"]}, Fastest(), defaults=False)
    told = ask(face, s.gateway)
    assert told.text == "a"
    [(plugin, hook, error)] = told.record.problems
    assert (plugin, hook) == ("Fastest", "rank_deployments")
    assert "Observations" in error


# ---------------------------------------------------------------- large groups


@pytest.mark.parametrize(
    "prefer", ["ordered", "weighted", "cheapest", "fastest", "most_reliable", "balanced"]
)
def test_of_thousands_all_can_be_tried_and_each_once(prefer: str) -> None:
    group = [a_deployment(str(n), price=a_price(1 + n % 3, 2), weight=float(n % 5)) for n in range(3_000)]
    ranked: list[str] = []

    class Seen:
        @hookimpl
        def limit_attempt(self, call: Any) -> None:
            ranked.extend(one.id for one in call.untried)

    gateway = Gateway(
        group,
        plugins=[Seen(), preference_of(prefer, Policy())],
        transport=SimpleNamespace(send=lambda *_: pytest.fail("x"), meter=None),  # type: ignore[arg-type]
    )
    with pytest.raises(BaseException):  # noqa: B017 - nothing is sent
        gateway.complete("fast", "x")
    first = gateway.decisions[-1].selections[0].order
    assert len(set(first)) == len(first) >= 2
    assert len({first[0], *ranked}) == 3_000


def test_the_fastest_of_thousands_is_found() -> None:
    group = tuple(a_deployment(str(n)) for n in range(2_000))
    choosing = Choosing(Fastest())
    took = Counter[float]()
    for n in range(3_000):
        first = choosing.ranking(group=group).order[0]
        seconds = 0.2 + int(first.id) % 100 / 10
        choosing.saw(first, seconds)
        choosing.advance(0.01)
        if n >= 2_000:
            took[seconds] += 1
    assert sum(count for seconds, count in took.items() if seconds < 1.0) / took.total() > 0.9


def test_every_scored_ranking_names_candidates_only_and_each_once() -> None:
    group = tuple(a_deployment(str(n), price=a_price(1 + n, 1)) for n in range(25))
    for prefer in ("cheapest", "fastest", "most_reliable", "balanced"):
        choosing = Choosing(preference_of(prefer, Policy(p95=2.0)))
        for n in range(200):
            order = choosing.order(*group[: 1 + n % 25])
            assert len(set(order)) == len(order) <= 10
            assert set(order) <= {one.id for one in group[: 1 + n % 25]}
            choosing.saw(group[int(order[0])], 0.1 + n % 7)
            choosing.advance(n % 11)
        ranking = choosing.ranking()
        assert ranking is None or list(ranking.order) == []


def test_ranking_needs_no_loop_where_nobody_is_waited_for() -> None:
    assert not inspect.isawaitable(Choosing(preference_of("balanced", Policy())).ranking(A, B))
