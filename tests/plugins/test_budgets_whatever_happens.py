"""Retries, failover, broken streams, readers who leave: each attempt is held and settled, on every face."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.faces import FACES, ask
from support.gateways import Scene, deployment, scene

from llmgate_plugins import Message, Price, Request
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Limits, RequestLimit, TokenLimit
from llmgate_plugins.testing import Fault, Stream

STORY = ("Once ", "upon ", "a ", "time ", "there ", "was ")
FAULTS = (
    "server",
    "rate_limit",
    "connection",
    "timeout",
    "overloaded",
    "authentication",
    "context_length",
    "quota",
)
WINDOW = 1e9


class World:
    """A few deployments that do something else each time, under limits of every kind, by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.cap = chance.choice([150, 300, 600, 2_000, 100_000])
        self.limits = (
            Budget("global", self.cap, WINDOW),
            TokenLimit("global", chance.choice([200, 10_000]), WINDOW),
            RequestLimit("global", chance.choice([3, 100]), WINDOW),
            ConcurrencyLimit("global", 1),
        )
        among = [self._deployment(id) for id in "abcd"[: chance.randint(2, 4)]]
        self.scene: Scene = scene(
            {one.id: [self._step() for _ in range(12)] for one in among},
            Limits(self.limits),
            deployments=[*among, deployment("z", alias="slow")],
            fallbacks={"fast": ["slow"]},
            seed=seed,
        )
        self.passed: list[tuple[int, int]] = []
        reserve = self.scene.state.reserve

        def watched(*given: Any, **named: Any) -> Any:
            answer = reserve(*given, **named)
            if sum(self.standing(self.limits[0])) > self.cap:
                self.passed.append(self.standing(self.limits[0]))
            return answer

        self.scene.state.reserve = watched  # type: ignore[method-assign]

    def _deployment(self, id: str) -> Any:
        chance = self.chance
        price = Price(input=chance.choice([1, 3]) * 1_000_000, output=chance.choice([2, 8]) * 1_000_000)
        able = frozenset({"assistant_prefill"}) if chance.random() < 0.5 else frozenset()
        return deployment(id, price=price, capabilities=able, params=chance.choice([{}, {"n": 2}]))

    def _step(self) -> Any:
        chance = self.chance
        cut = STORY[: chance.randint(0, 5)]
        return chance.choice(
            [
                "".join(STORY),
                Stream(*STORY),
                Fault(chance.choice(FAULTS)),
                Stream(*cut, then=Fault("connection")),
                Stream(*cut, finish_reason=None),
                ValueError("odd"),
            ]
        )

    def standing(self, limit: Any) -> tuple[int, int]:
        window = None if isinstance(limit, ConcurrencyLimit) else WINDOW
        return self.scene.state.spent(limit.key(), window=window)

    def ask(self, face: str) -> None:
        chance = self.chance
        request = Request(
            model="fast",
            messages=(Message(role="user", content="hi " * chance.randint(1, 20)),),
            params={"max_tokens": chance.choice([20, 40])},
            on_break=chance.choice([None, "raise", "resume", "restart", "hold"]),
        )
        ask(face, self.scene.gateway, request, take=chance.choice([None, None, 1, 3]))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("seeds", [range(n, n + 30) for n in range(0, 150, 30)], ids=lambda seeds: seeds[0])
def test_what_was_held_is_settled_and_nothing_is_passed(face: str, seeds: range) -> None:
    for seed in seeds:
        world = World(seed)
        for _ in range(4):
            world.ask(face)
            rows = world.scene.ledger.attempts()
            assert world.passed == [], f"seed {seed}: spent and held beyond {world.cap}"
            assert [world.standing(one)[1] for one in world.limits] == [0] * 4, f"seed {seed}"
            spent = sum(row["cost_nano_usd"] for row in rows)
            assert world.standing(world.limits[0])[0] == spent <= world.cap, f"seed {seed}"
            assert all(row["cost_nano_usd"] <= (row["reserve_nano_usd"] or 0) for row in rows), f"seed {seed}"
            assert world.scene.books_balance(), f"seed {seed}"
