"""Preferences in worlds that change: nobody is trampled, what was lost is found, goals are kept."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from support.choosing import Choosing
from support.faces import ask, every_face
from support.gateways import scene
from support.values import a_deployment
from support.world import Server, World

from llmgate_plugins import ProviderError
from llmgate_plugins.context import Context
from llmgate_plugins.plugins import Cheapest, Fastest, Policies
from llmgate_plugins.plugins.preferences import MostReliable, preference_of
from llmgate_plugins.plugins.preferences.goals import Budget, goals_of
from llmgate_plugins.policies import Policy
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Price


def at(seconds: float) -> Callable[[float], float]:
    return lambda _: seconds


# ---------------------------------------------------------------- no herds


def crowded() -> list[Server]:
    """The fastest one is soon full."""
    return [
        Server("a", at(0.5), capacity=50),
        Server("b", at(0.6), capacity=200),
        Server("c", at(1.5), capacity=200),
    ]


def test_a_thousand_calls_at_once_do_not_all_go_to_the_fastest() -> None:
    servers = crowded()
    World(servers, Fastest).run(20, rate=5).at_once(1_000)
    peaks = {one.id: one.load for one in servers}
    assert sum(peaks.values()) == 1_000
    assert peaks["a"] < 500
    assert peaks["c"] < peaks["b"]


def test_many_gateways_that_know_nothing_of_each_other_fill_the_fastest_and_not_more() -> None:
    servers = crowded()
    world = World(servers, Fastest, gateways=40).run(10, rate=200)
    for one in servers:
        one.peak = 0
    world.ended.clear()
    world.run(30, rate=200)
    # `a` answers as fast as `b` when 60 calls are at work there, 100 a second: half of them
    assert world.share("a") == pytest.approx(0.45, abs=0.15)
    assert servers[0].peak < 150  # of some 120 that are under way in all, or 5,000 if all went there
    assert world.mean < 0.75
    assert world.share("c") < 0.03


def test_what_has_become_fast_is_found_and_what_has_become_slow_is_left_at_once() -> None:
    servers = [Server("a", lambda now: 3.0 if now < 300 else 0.3), Server("b", at(1.0))]
    world = World(servers, Fastest).run(1_000, rate=2)
    assert world.share("a", 50, 300) < 0.03
    assert world.share("a", 700, 1_000) > 0.95
    servers = [Server("a", lambda now: 0.3 if now < 300 else 3.0), Server("b", at(1.0))]
    world = World(servers, Fastest).run(400, rate=2)
    assert world.share("a", 200, 300) > 0.9
    assert world.share("a", 320, 400) < 0.1


def test_the_same_world_is_chosen_in_the_same_way_again() -> None:
    def told() -> list[tuple[float, str]]:
        world = World(crowded(), lambda: preference_of("balanced", Policy()), gateways=3).run(10, rate=20)
        return [(one.at, one.server) for one in world.ended]

    assert told() == told()


# ---------------------------------------------------------------- goals


def stepping(now: float) -> float:
    return 2.5 if 600 <= now < 1_000 or 1_600 <= now < 1_800 else 0.8


def swaying(now: float) -> float:
    return 1.2 + 0.9 * math.sin(now / 400)


GOAL = 2.0
SPREAD = 1.645 * 0.3
"""Of the logarithm of a p95, where half of the answers take the median."""


def market(drift: Callable[[float], float]) -> list[Server]:
    return [
        Server("cheap", drift, usd=1.0),
        Server("middle", at(1.0), usd=3.0),
        Server("dear", at(0.5), usd=10.0),
    ]


@pytest.mark.parametrize("drift", [stepping, swaying])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_p95_is_kept_at_about_the_lowest_price_while_speeds_drift(
    drift: Callable[[float], float], seed: int
) -> None:
    seconds = 2_000
    world = World(market(drift), lambda: Cheapest(p95=GOAL), seed=seed).run(seconds, rate=2)
    # What somebody would pay who knew the truth, and took the cheapest one that keeps the goal.
    best = sum(1.0 if drift(now) * math.exp(SPREAD) <= GOAL else 3.0 for now in range(seconds)) / seconds
    assert world.late(GOAL) < 0.05
    assert world.cost < 1.35 * best


def test_neither_the_cheapest_nor_the_fastest_alone_would_do() -> None:
    cheapest = World(market(stepping), Cheapest).run(2_000, rate=1)
    fastest = World(market(stepping), Fastest).run(2_000, rate=1)
    assert cheapest.late(GOAL) > 0.2
    assert fastest.late(GOAL) < 0.01
    assert fastest.cost > 9


def a_record(latency: float, status: str = "success") -> DecisionRecord:
    return DecisionRecord(call_id="c", model="fast", at=0.0, latency=latency, status=status)  # type: ignore[arg-type]


def test_the_choice_is_tight_when_the_budget_is_burnt_and_relaxed_when_it_is_half_full() -> None:
    budget = Budget(goals_of(None, 2.0, None, None))
    for now in range(1, 101):
        budget.ended(a_record(9.0 if now % 10 == 0 else 1.0), now)
    assert budget.is_tight  # a tenth is late, a twentieth may be
    assert budget.burnt > 1.5
    calm = 0
    while budget.is_tight:
        calm += 1
        budget.ended(a_record(1.0), 100 + calm)
        assert calm < 1_000
    assert budget.burnt == pytest.approx(0.5, abs=0.01)
    # It does not sway: between the marks it stays what it is.
    while budget.burnt < 0.8:
        calm += 1
        budget.ended(a_record(9.0), 100 + calm)
    assert not budget.is_tight


def test_what_the_caller_spoils_or_leaves_burns_nothing() -> None:
    budget = Budget(goals_of(None, 2.0, None, 0.9))
    for status in ("denied", "cancelled", "abandoned", "answered"):
        budget.ended(a_record(9.0, status), 1.0)
    assert budget.burnt == 0.5
    budget.ended(a_record(9.0, "error"), 2.0)
    assert budget.burnt > 0.9  # of success; a failure is not late besides


def test_in_need_the_choice_moves_to_the_fast_and_with_slack_back_to_the_cheap() -> None:
    cheap = a_deployment("cheap", price=Price(input=1, output=1))
    sure = a_deployment("sure", price=Price(input=9, output=9))
    choosing = Choosing(Cheapest(p95=2.0))
    for n in range(100):
        choosing.saw(cheap, 9.0 if n % 14 == 0 else 1.0)  # 8 % are late
        choosing.saw(sure, 1.0)
    budget = choosing.budget()
    assert choosing.order(cheap, sure) == ["cheap", "sure"]
    for _ in range(10):
        budget.ended(a_record(9.0), choosing.services.clock.monotonic())
    ranking = choosing.ranking(cheap, sure)
    assert [one.id for one in ranking.order] == ["sure", "cheap"]
    assert ranking.reason.endswith("of the budget burnt, tight")
    cheap_misses, sure_misses = (ranking.state[one.id] for one in (cheap, sure))
    assert cheap_misses["misses"] > cheap_misses["may_miss"] == 0.025 > sure_misses["misses"]


def test_each_feature_has_a_budget_of_its_own() -> None:
    cheap = a_deployment("cheap", price=Price(input=1, output=1))
    sure = a_deployment("sure", price=Price(input=9, output=9))
    choosing = Choosing(Cheapest(p95=2.0))
    for n in range(100):
        choosing.saw(cheap, 9.0 if n % 14 == 0 else 1.0)
        choosing.saw(sure, 1.0)
    search, chat = Context(feature="search"), Context(feature="chat")
    budget = choosing.budget(search)
    for _ in range(10):
        budget.ended(a_record(9.0), choosing.services.clock.monotonic())
    assert choosing.order(cheap, sure, context=search)[0] == "sure"
    assert choosing.order(cheap, sure, context=chat)[0] == "cheap"


def test_where_nobody_keeps_the_goal_whoever_comes_closest_is_first() -> None:
    near, far = a_deployment("near"), a_deployment("far")
    choosing = Choosing(MostReliable(p95=2.0))
    for n in range(40):
        choosing.saw(far, 5.0)
        choosing.saw(near, 5.0 if n % 3 == 0 else 1.0)
    assert choosing.order(far, near) == ["near", "far"]


def test_a_goal_of_success_is_kept_too() -> None:
    cheap = a_deployment("cheap", price=Price(input=1, output=1))
    sure = a_deployment("sure", price=Price(input=9, output=9))
    choosing = Choosing(preference_of("cheapest", Policy(success=0.99)))
    for n in range(200):
        choosing.failed(cheap) if n % 20 == 0 else choosing.saw(cheap)
        choosing.saw(sure)
    assert choosing.order(cheap, sure) == ["sure", "cheap"]


@every_face
def test_calls_of_every_face_burn_the_budget_of_their_feature_and_policy(face: str) -> None:
    policies = Policies({"default": Policy(prefer="cheapest", success=0.9)})
    s = scene({"a": ["a"] * 30, "b": ["b"] * 30}, policies)
    support = Context(feature="support")
    for _ in range(5):
        assert ask(face, s.gateway, context=support).record.problems == []
    reason = s.gateway.decisions[-1].selections[0].reason
    assert reason.startswith("cheapest first of those that keep success: 4")  # 40 %: half of 20, and no more
    broken = scene({"a": [ProviderError("down", status=503)] * 30}, policies)
    for _ in range(6):
        ask(face, broken.gateway, context=support)
    assert broken.gateway.decisions[-1].selections[0].reason.endswith("of the budget burnt, tight")
