"""What exists in a simulated run: deployments, what goes wrong with them when, and who calls."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing.simulation.options import Options
from llmgate_plugins.types import Deployment, Endpoint, OnBreak, Price

__all__ = ["PLAN", "Character", "Nature", "Plan", "Trouble", "World", "draw_world"]

Nature = Literal["plain", "invalid", "offensive", "long"]
"""What is the matter with a request: nothing; no provider takes it; it is refused by the
content filter; it does not fit a small context window."""

PLAN: Final = "plan"
"""The tag of a request that says which plan it carries out."""
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
TO_CLOSE: Final = 4
"""Successes that close a breaker of `Health`, and one more."""
SMALL_WINDOW: Final = 4_000
TEAMS: Final = ("red", "blue", "green")
STEADY: Final = "steady"
"""The team that calls after all has healed; its budget nobody has touched before."""


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
class Plan:
    """One call that somebody will make.

    Attributes:
        number: Its place among all calls.
        at: Virtual seconds since the run began; later if the caller is still busy.
        steady: Made when all has healed for long: it must succeed.
        asks: Number of the question; a repeat has that of the call it repeats.
        call_id: Named by the caller; None for one of the gateway's.
        leaves: None, or ("cancel", seconds) or ("abandon", pieces).
        reads_slowly: Seconds that the reader takes for each piece.
        length: Pieces of a deterministic answer.
    """

    number: int
    at: float
    asks: int
    alias: str
    stream: bool
    on_break: OnBreak | None
    deadline: float | None
    nature: Nature
    team: str
    region: str | None
    priority: int
    tools: bool
    max_tokens: int | None
    call_id: str | None
    leaves: tuple[Literal["cancel", "abandon"], float] | None
    reads_slowly: float
    length: int
    steady: bool


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
    plans = _plans(dice, options, deployments, heals_at, steady_from)
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


def _plans(
    dice: random.Random,
    options: Options,
    deployments: Sequence[Deployment],
    heals_at: float,
    steady_from: float,
) -> list[Plan]:
    """Three fifths of the calls while things fail, a quarter while all recovers, the rest at rest.

    Once the longest ejection is over each deployment is also asked by its own name, as often
    as it takes to close a breaker: an ejection of which nobody wants to know lasts.
    """
    calls = options.calls
    failing, recovering = calls - calls * 2 // 5, calls // 4
    over = (heals_at + steady_from) / 2
    direct = [(dice.uniform(over, steady_from), one.id) for one in deployments for _ in range(TO_CLOSE)][
        :recovering
    ]
    moments = [dice.uniform(0.0, heals_at) for _ in range(failing)]
    moments += [dice.uniform(heals_at, steady_from) for _ in range(recovering - len(direct))]
    moments += [steady_from + 1 + 2.0 * place for place in range(calls - failing - recovering)]
    aliases = list(dict.fromkeys(one.alias for one in deployments))
    regions = {alias: [one.region for one in deployments if one.alias == alias] for alias in aliases}
    regions |= {one.id: [one.region] for one in deployments}
    # The first alias has all others behind it, as most applications ask for their best model.
    asked = [(at, aliases[0] if dice.random() < 0.7 else dice.choice(aliases)) for at in moments]
    plans = [
        _plan(
            dice,
            options,
            number,
            at,
            alias,
            regions[alias],
            settled=at >= heals_at,
            steady=at >= steady_from,
            direct=alias not in aliases,
        )
        for number, (at, alias) in enumerate(sorted(asked + direct))
    ]
    _repeat(dice, plans)
    return plans


def _repeat(dice: random.Random, plans: list[Plan]) -> None:
    """Half of the named calls are made again, soon or later; now and then with another question."""
    for plan in [one for one in plans if one.call_id is not None and one.team != STEADY]:
        later = [one for one in plans[plan.number + 1 :] if one.call_id is None and one.team != STEADY]
        if not later or dice.random() < 0.5:
            continue
        again = later[0] if dice.random() < 0.5 else dice.choice(later)
        plans[again.number] = replace(
            plan,
            number=again.number,
            at=again.at,
            asks=plan.asks if dice.random() < 0.8 else again.asks,
            stream=again.stream,
            on_break=again.on_break,
            deadline=again.deadline,
            priority=again.priority,
            leaves=again.leaves,
            reads_slowly=again.reads_slowly,
        )


def _plan(
    dice: random.Random,
    options: Options,
    number: int,
    at: float,
    alias: str,
    regions: Sequence[str | None],
    *,
    settled: bool,
    steady: bool,
    direct: bool,
) -> Plan:
    stream = dice.random() < 0.5
    natures: tuple[Nature, ...] = ("invalid", "offensive", "long")
    odd = not settled and dice.random() < 0.08
    leaves: tuple[Literal["cancel", "abandon"], float] | None = None
    if not steady and not direct and dice.random() < options.leaving:
        if stream and dice.random() < 0.5:
            leaves = ("abandon", dice.randint(1, 4))
        else:
            leaves = ("cancel", min(dice.expovariate(1.0), 60.0))
    bound = dice.random() < 0.15
    return Plan(
        number=number,
        at=at,
        asks=number,
        alias=alias,
        stream=stream,
        on_break=dice.choice((None, "raise", "restart", "resume", "resume", "hold")) if stream else None,
        deadline=120.0 if steady or direct else dice.choice((None, 2.0, 10.0, 30.0, 60.0, 120.0)),
        nature=dice.choice(natures) if odd else "plain",
        team=STEADY if steady or direct else dice.choice(TEAMS),
        region=(dice.choice(regions) if settled else dice.choice(("eu", "us"))) if bound else None,
        priority=dice.choice((0, 1, 1, 2, 3)),
        tools=not steady and not direct and dice.random() < 0.15,
        max_tokens=64 if steady or direct else dice.choice((None, 64, 512)),
        call_id=f"call-{number}" if dice.random() < 0.1 else None,
        leaves=leaves,
        reads_slowly=dice.choice((0.05, 0.5)) if stream and not steady and dice.random() < 0.1 else 0.0,
        length=1 + min(math.floor(dice.expovariate(0.2)), 20),
        steady=steady,
    )
