"""What exists in a simulated run: deployments, and what goes wrong with them when."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.plugins import Budget, Limit, RequestLimit
from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing.simulation.options import Options
from llmgate_plugins.testing.simulation.plans import Plan, draw_plans
from llmgate_plugins.types import Deployment, Endpoint, Price
from llmgate_plugins.windows import Calendar, Rolling

__all__ = ["Character", "Trouble", "World", "draw_world"]

REFUSALS: Final = (
    *("server", "server", "bad_gateway", "unavailable", "overloaded", "connection", "connection"),
    *(
        "rate_limit",
        "rate_limit",
        "quota",
        "authentication",
        "permission",
        "not_found",
        "timeout",
        "conflict",
    ),
)
BEHAVIOURS: Final = (
    *("hang", "slow", "truncated", "cut", "error_event", "malformed", "drip", "stall", "empty", "nothing"),
)
OF_A_KEY: Final = frozenset({"quota", "authentication", "permission"})
WINDOW: Final = 1_000_000_000.0
"""Seconds of the budget's window: longer than any run, so that sums can be compared."""
SMALL_WINDOW: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that goes wrong with some deployments for some time.

    Attributes:
        kind: One of `Fault`'s kinds, or a behaviour such as "hang".
        targets: Ids of deployments.
        start, end: Virtual seconds since the run began.
        rate: Share of requests that it hits.
        retry_after: What the provider says, where it says something.
    """

    kind: str
    targets: frozenset[str]
    start: float
    end: float
    rate: float
    retry_after: float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """How a deployment is when it is well.

    Attributes:
        first_token: Median seconds until it begins to answer; log-normal with `spread`.
        gap: Mean seconds between two pieces.
        deterministic: It gives the same answer to the same question, as all of its kind do.
        reports_usage: Whether its answers say what they cost.
        reasons: Whether its streams begin with a thought.
    """

    first_token: float
    spread: float
    gap: float
    deterministic: bool
    reports_usage: bool
    reasons: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that a seed decides beforehand.

    Attributes:
        quotas: Credential -> requests per minute that its provider allows.
        plans: One sequence for each worker.
        heals_at: When the last trouble is over.
        steady_from: From when on every call must succeed.
        budget: Nano-dollars that a team may spend.
        retry_floor: Further attempts per second that each provider's retry budget always has.
    """

    deployments: tuple[Deployment, ...]
    characters: Mapping[str, Character]
    fallbacks: Mapping[str, tuple[str, ...]]
    quotas: Mapping[str, int]
    troubles: tuple[Trouble, ...]
    plans: tuple[tuple[Plan, ...], ...]
    heals_at: float
    steady_from: float
    budget: int
    retry_floor: float
    hedging: bool

    @property
    def team_budget(self) -> Budget:
        """The budget of each team."""
        return Budget("team", self.budget, WINDOW)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """That one, and others of further scopes, windows and kinds that let every call through."""
        return (
            self.team_budget,
            Budget("global", self.budget // 2, WINDOW, shadow=True),
            Budget("deployment", self.budget // 2, WINDOW, hard=False),
            Budget(["team", "alias"], 1_000 * self.budget, Rolling(60.0)),
            RequestLimit("global", 1_000_000, Calendar("day", "Europe/Berlin")),
        )


def draw_world(seed: int, options: Options, *, longest_ejection: float = 360.0) -> World:
    """The world of a seed.

    Args:
        seed: The same one draws the same world.
        options: What is not left to the seed.
        longest_ejection: Seconds; twice as long after the last trouble all calls must succeed.
    """
    dice = random.Random(f"world/{seed}")  # noqa: S311 - not for cryptography
    deployments = _deployments(dice, options.deployments or dice.randint(2, 6))
    aliases = list(dict.fromkeys(one.alias for one in deployments))
    heals_at = dice.uniform(60.0, 300.0)
    steady_from = heals_at + 2 * longest_ejection
    plans = draw_plans(dice, options, deployments, heals_at, steady_from)
    hands = min(options.workers or dice.randint(1, 8), len(plans))
    keys = sorted({one.credential for one in deployments if one.credential is not None})
    return World(
        deployments=deployments,
        characters={one.id: _character(dice) for one in deployments},
        fallbacks={alias: tuple(aliases[place + 1 :]) for place, alias in enumerate(aliases[:-1])},
        quotas={key: dice.choice((60, 120, 600)) for key in keys if dice.random() < 0.4},
        troubles=_troubles(dice, options, deployments, heals_at),
        plans=tuple(tuple(plans[hand::hands]) for hand in range(hands)),
        heals_at=heals_at,
        steady_from=steady_from,
        budget=dice.choice((12_000, 10_000_000, 10_000_000, 10_000_000)),
        retry_floor=dice.choice((0.5, 0.05, 0.01)),
        hedging=options.hedging if options.hedging is not None else dice.random() < 1 / 3,
    )


def _deployments(dice: random.Random, count: int) -> tuple[Deployment, ...]:
    aliases = ("fast", "strong", "spare")[: dice.randint(1, min(3, count))]
    providers = ("alpha", "beta", "gamma")[: dice.randint(1, 3)]
    found = []
    for place in range(count):
        provider = dice.choice(providers)
        able = {"tools"} if dice.random() < 0.8 else {"vision"}
        if dice.random() < 0.4:
            able.add("assistant_prefill")
        price = dice.choice((500_000, 1_000_000, 2_000_000))
        found.append(
            Deployment(
                id=f"d{place}",
                alias=aliases[place] if place < len(aliases) else dice.choice(aliases),
                provider=provider,
                model=f"{provider}-{dice.randint(1, 2)}",
                region=dice.choice(("eu", "us", None)),
                price=Price(input=price, cached_input=price, cache_write=price, output=2 * price),
                context_window=dice.choice((SMALL_WINDOW, 128_000, 128_000, None)),
                max_output=dice.choice((1_024, None)),
                capabilities=frozenset(able),
                endpoint=Endpoint(api_key=Secret(f"sk-{provider}-{dice.randint(1, 2)}")),
            )
        )
    return tuple(found)


def _character(dice: random.Random) -> Character:
    return Character(
        first_token=dice.uniform(0.2, 2.0),
        spread=dice.uniform(0.1, 0.6),
        gap=dice.uniform(0.01, 0.2),
        deterministic=dice.random() < 0.5,
        reports_usage=dice.random() < 0.8,
        reasons=dice.random() < 0.2,
    )


def _troubles(
    dice: random.Random, options: Options, deployments: Sequence[Deployment], heals_at: float
) -> tuple[Trouble, ...]:
    found = []
    for _ in range(round(dice.randint(0, 8) * options.faults)):
        kind = dice.choice(REFUSALS if dice.random() < 0.6 else BEHAVIOURS)
        start = dice.uniform(0.0, heals_at * 0.9)
        found.append(
            Trouble(
                kind=kind,
                targets=_targets(dice, kind, deployments),
                start=start,
                end=min(start + dice.expovariate(4 / heals_at), heals_at),
                rate=1.0 if dice.random() < 0.5 else dice.uniform(0.05, 0.9),
                retry_after=_retry_after(dice, kind),
            )
        )
    return tuple(found)


def _targets(dice: random.Random, kind: str, deployments: Sequence[Deployment]) -> frozenset[str]:
    one = dice.choice(deployments)
    if kind in OF_A_KEY:
        return frozenset(other.id for other in deployments if other.credential == one.credential)
    reach = dice.random()
    if reach < 0.1:
        return frozenset(other.id for other in deployments)
    if reach < 0.4:
        return frozenset(other.id for other in deployments if other.provider == one.provider)
    return frozenset({one.id})


def _retry_after(dice: random.Random, kind: str) -> float | str | None:
    if kind not in {"rate_limit", "overloaded", "unavailable", "quota"} or dice.random() < 0.4:
        return None
    return dice.choice((0.25, 1, 2, 5, 20, 45, "soon", "-1", "nan"))
