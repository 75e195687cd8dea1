"""Who calls in a simulated run: which question, when, how, and how patiently."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from llmgate_plugins.testing.simulation.options import Options
from llmgate_plugins.types import Deployment, OnBreak

__all__ = ["PLAN", "Nature", "Plan", "draw_plans"]

Nature = Literal["plain", "invalid", "offensive", "long"]
"""What is the matter with a request: nothing; no provider takes it; it is refused by the
content filter; it does not fit a small context window."""

PLAN: Final = "plan"
"""The tag of a request that says which plan it carries out."""
TO_CLOSE: Final = 4
"""Successes that close a breaker of `Health`, and one more."""
TEAMS: Final = ("red", "blue", "green")
STEADY: Final = "steady"
"""The team that calls after all has healed; its budget nobody has touched before."""


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


def draw_plans(
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
