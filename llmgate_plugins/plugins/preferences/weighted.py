"""Deployments drawn at random, each as often as its weight says."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.draws import Lots, arrival
from llmgate_plugins.plugins.arguments import non_negative
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.plugins.preferences.shortlist import FEW
from llmgate_plugins.services import Services
from llmgate_plugins.types import EMPTY, Deployment, Request

__all__ = ["Weighted"]

DRAWN: Final = 4
"""Of a large group so many places are drawn."""

Table = tuple[tuple[Deployment, ...], Sequence[float], bool]
"""Those with a weight and then those without; sums of the weights; whether some have none."""


class Weighted(Preferring):
    """A random order in which the first place falls to each as often as its weight says.

    The second place is drawn from the rest in the same way, and so on. A weight of 0 makes
    a last resort, behind all others. Of more than ten deployments only the first places are
    drawn, and the others follow in their configured order: no failover gets that far.

    Args:
        weights: Deployment id -> weight, 0 or more; those it leaves out weigh what their
            configuration says (`Deployment.weight`).
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = {name: _check(name, weight) for name, weight in (weights or EMPTY).items()}
        self._tables: PerGroup[None, Table] = PerGroup(self._table)

    def rank(
        self,
        request: Request,  # noqa: ARG002 - one signature for all
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002
        call: Call,
        services: Services,  # noqa: ARG002
    ) -> Ranking:
        """By lot: the same call draws the same order of the same deployments."""
        ordered, sums, has_zero = self._tables.of(deployments, None)
        lots = Lots(call.draw("weighted"))
        if len(ordered) <= FEW:
            return Ranking(self._shuffle(ordered, lots), reason="by weight")
        # Those left out follow in their given order, save that some must be last.
        rest = ordered if has_zero else None
        return Ranking(_draw(ordered, sums, lots), reason="by weight", rest=rest)

    def _weight(self, deployment: Deployment) -> float:
        weight = self._weights.get(deployment.id)
        return deployment.weight if weight is None else weight

    def _table(self, deployments: Sequence[Deployment], _key: None) -> Table:
        weights = [(_check(one.id, self._weight(one)), one) for one in deployments]
        heavy = [(weight, one) for weight, one in weights if weight > 0]
        light = [one for weight, one in weights if weight == 0]
        sums = array("d", accumulate(weight for weight, _ in heavy))
        return (*(one for _, one in heavy), *light), sums, bool(light)

    def _shuffle(self, ordered: Sequence[Deployment], lots: Lots) -> list[Deployment]:
        """The whole order: each draws a time of arrival, sooner the heavier it is."""
        if len(ordered) == 1:
            return list(ordered)
        arrivals = []
        for place, one in enumerate(ordered):
            weight = self._weight(one)
            when = arrival(lots.next(), weight) if weight > 0 else math.inf
            arrivals.append((when, place, one))
        arrivals.sort(key=lambda arrival: arrival[:2])
        return [one for _, _, one in arrivals]


def _draw(ordered: Sequence[Deployment], sums: Sequence[float], lots: Lots) -> list[Deployment]:
    """The first places, at a cost that does not grow with the number of deployments."""
    if not sums:
        return list(ordered[:DRAWN])
    drawn: dict[int, None] = {}
    for _ in range(DRAWN):
        drawn[min(bisect_right(sums, lots.next() * sums[-1]), len(sums) - 1)] = None
    return [ordered[place] for place in drawn]


def _check(id: str, weight: float) -> float:
    return non_negative(f"the weight of {id!r}", weight)
