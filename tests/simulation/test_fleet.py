"""Fleets that share limits and books keep both in step through crashes and flushes, in every seed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from llmgate_plugins import hookimpl
from llmgate_plugins.plugins import Limits
from llmgate_plugins.testing.simulation.fleet import FleetResult, simulate_fleet


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What gateways say of crashes stands in the results."""
    log = logging.getLogger("llmgate")
    log.disabled = True
    yield
    log.disabled = False


def told(results: list[FleetResult]) -> str:
    return "\n".join(f"seed {one.seed}: {'; '.join(map(str, one.violations[:3]))}" for one in results)


@pytest.mark.parametrize(
    ("seeds", "calls"),
    [
        (range(16), 60),
        pytest.param(range(1_000, 1_400), 120, marks=[pytest.mark.campaign]),
    ],
    ids=["16 seeds", "400 seeds"],
)
def test_books_limits_and_counters_agree_in_every_seed(seeds: range, calls: int) -> None:
    results = [simulate_fleet(seed, calls=calls) for seed in seeds]
    assert not (wrong := [one for one in results if not one.ok]), told(wrong)
    ends: Counter[str] = Counter()
    for one in results:
        ends.update(one.calls)
    crashes, flushes = sum(one.crashes for one in results), sum(one.flushes for one in results)
    print(f"{len(results)} fleets, {dict(ends)}, {crashes} crashes, {flushes} flushes")
    assert {"success", "denied", "left", "crashed"} <= ends.keys()
    assert crashes > len(results) / 4 < flushes


def test_the_same_seed_gives_the_same_trace() -> None:
    results = [simulate_fleet(seed, calls=40) for seed in (1, 2, 3)]
    assert results == [simulate_fleet(seed, calls=40) for seed in (1, 2, 3)]
    assert len({one.trace_hash for one in results}) == 3


class Forgetful(Limits):
    """Gives back no hold of a call that was left."""

    name = "Limits"

    @hookimpl
    def end_attempt(self, attempt: Any, outcome: Any, call: Any, services: Any) -> Any:
        left = outcome.status in ("cancelled", "abandoned")
        return None if left else super().end_attempt(attempt, outcome, call, services)


class Cheap(Limits):
    """Books less than was spent."""

    name = "Limits"

    @hookimpl
    def end_attempt(self, attempt: Any, outcome: Any, call: Any, services: Any) -> Any:
        from dataclasses import replace

        return super().end_attempt(attempt, replace(outcome, cost=outcome.cost // 2), call, services)


@pytest.mark.parametrize("planted", [Forgetful, Cheap])
def test_a_planted_bug_is_found(planted: type[Limits]) -> None:
    found = [one for seed in range(4) for one in simulate_fleet(seed, calls=60, plugin=planted).violations]
    assert {one.invariant for one in found} & {"I3", "I4"}
