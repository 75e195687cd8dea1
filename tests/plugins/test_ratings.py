"""`best_rated`: the bandit finds out what people like, forgets what was, and shares what it heard."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.gateways import deployment, scene
from support.values import a_call, a_request, some_services

from llmgate_plugins import Call, Context, Deployment, Ranking, Request, Services, hookimpl
from llmgate_plugins.plugins.ratings import Ratings, beta_draw
from llmgate_plugins.services import Feedback, is_pending
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import VirtualClock

LIKED = {"a": 0.9, "b": 0.6, "c": 0.5, "d": 0.3}
ALL = tuple(deployment(id) for id in LIKED)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 2), (1.5, 1.5), (5, 2), (50, 20), (1, 30), (300, 10)])
def test_draws_are_of_a_beta_distribution(a: float, b: float) -> None:
    luck, number = random.Random(1), 8_000
    ours = sorted(beta_draw(a, b, luck.random()) for _ in range(number))
    true = sorted(luck.betavariate(a, b) for _ in range(number))
    for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        assert abs(ours[int(share * number)] - true[int(share * number)]) < 0.025


def test_the_ends_of_a_draw_are_numbers() -> None:
    for lot in (0.0, 0.5, 1.0 - 2**-53):
        assert 0.0 <= beta_draw(1.0, 1.0, lot) <= 1.0


class People:
    """Ask, and rate what they get; the choice is the plugin's."""

    def __init__(self, *plugins: Ratings, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.services = replace(some_services(), clock=self.clock, state=MemoryState(clock=self.clock))
        self.plugins = plugins or (Ratings(),)
        self.luck = random.Random(seed)
        self.count = 0

    def choose(self, plugin: Ratings) -> str:
        self.count += 1
        call = a_call()
        call.id = f"{self.count}"
        scores = plugin.score_deployments("best_rated", ALL, call, self.services)
        assert scores is not None
        assert not is_pending(scores)
        return min(scores.values, key=scores.values.__getitem__)  # type: ignore[union-attr]

    def rate(self, plugin: Ratings, deployment: str, score: float, name: str = "quality") -> None:
        given = Feedback(
            id=str(self.count), call_id=str(self.count), at=self.clock.time(), name=name, score=score
        )
        plugin.receive_feedback(replace(given, deployment=deployment), self.services)

    def ask(self, number: int, liked: Mapping[str, float] = LIKED) -> Counter[str]:
        """So many calls, one a minute; who served."""
        served: Counter[str] = Counter()
        for _ in range(number):
            self.clock.advance(60.0)
            plugin = self.plugins[self.count % len(self.plugins)]
            chosen = self.choose(plugin)
            served[chosen] += 1
            hears = self.plugins[self.luck.randrange(len(self.plugins))]
            self.rate(hears, chosen, float(self.luck.random() < liked[chosen]))
        return served


def regret(served: Counter[str], liked: Mapping[str, float] = LIKED) -> float:
    best = max(liked.values())
    return sum(number * (best - liked[id]) for id, number in served.items())


def test_it_regrets_far_less_than_choosing_evenly() -> None:
    number = 2_000
    evenly = regret(Counter(dict.fromkeys(LIKED, number // 4)))
    ours = [regret(People(seed=seed).ask(number)) for seed in range(4)]
    assert max(ours) < 0.15 * evenly


def test_it_finds_out_when_another_becomes_the_best() -> None:
    people = People(Ratings(half_life=86_400.0))
    people.ask(2_000)
    changed = LIKED | {"a": 0.3, "d": 0.9}
    people.ask(6 * 1_440, changed)  # some days
    served = people.ask(1_000, changed)
    assert served["d"] > 800


def test_processes_learn_from_what_each_other_heard() -> None:
    people = People(Ratings(), Ratings(), Ratings())
    served = people.ask(2_000)
    assert served["a"] > 1_500


def test_who_is_not_rated_gets_a_chance() -> None:
    people = People()
    for _ in range(30):
        people.rate(people.plugins[0], "a", 0.6)
    assert {people.choose(people.plugins[0]) for _ in range(60)} == set(LIKED)


def test_the_same_call_draws_the_same() -> None:
    people, call = People(), a_call()
    one, other = (Ratings().score_deployments("best_rated", ALL, call, people.services) for _ in range(2))
    assert one == other


def test_other_judgements_and_other_preferences_are_not_its_business() -> None:
    people = People()
    (plugin,) = people.plugins
    people.rate(plugin, "a", 1.0, name="speed")
    people.choose(plugin)
    assert plugin.rating("a") == (0.0, 0.5)
    assert plugin.score_deployments("greenest", ALL, a_call(), people.services) is None


def test_a_rating_counts_half_after_its_half_life() -> None:
    people = People(Ratings(half_life=100.0))
    (plugin,) = people.plugins
    people.rate(plugin, "a", 1.0)
    numbers = []
    for _ in range(6):
        people.choose(plugin)
        found = plugin.rating("a")
        assert found is not None
        numbers.append(found[0])
        people.clock.advance(100.0)
    assert numbers == [1.0, 0.5, 0.25, 0.125, 0.0, 0.0]


class ByScore:
    """Ranks by what `best_rated` says, as a policy does."""

    @hookimpl
    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> Any:
        scores: Any = services.score("best_rated", request, deployments, context, call)
        return Ranking(sorted(deployments, key=lambda one: scores.values[one.id]), scores=scores.values)


def test_feedback_on_calls_decides_who_serves() -> None:
    world = scene({id: ["hello"] for id in LIKED}, ByScore(), deployments=ALL)
    luck, served = random.Random(3), Counter[str]()
    for at in range(400):
        call_id = f"call {at}"
        world.gateway.complete(a_request(), call_id=call_id)
        world.clock.advance(60.0)
        by = world.gateway.decisions[-1].served_by or ""
        served[by] += 1
        world.gateway.feedback(call_id, luck.random() < LIKED[by])
    assert served["a"] > 250


def test_feedback_that_is_given_again_counts_once_and_who_thinks_again_by_the_last_word() -> None:
    world = scene({"a": ["hello"]}, ByScore(), deployments=ALL[:1])
    ratings = next(one for _, one in world.gateway.plugins if isinstance(one, Ratings))

    def known() -> tuple[float, float] | None:
        world.clock.advance(60.0)
        world.gateway.complete(a_request())
        return ratings.rating("a")

    world.gateway.complete(a_request(), call_id="first")
    for _ in range(3):
        world.gateway.feedback("first", 1.0, id="thumb-1")
    assert known() == (1.0, 1.0)
    world.gateway.feedback("first", 0.0)
    assert known() == (1.0, 0.0)
    world.gateway.complete(a_request(), call_id="second")
    world.gateway.feedback("second", 1.0)
    assert known() == (2.0, 0.5)
