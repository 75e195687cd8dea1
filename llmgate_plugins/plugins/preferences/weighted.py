"""Deployments drawn at random, each as often as its weight says."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.draws import Lots
from llmgate_plugins.plugins.arguments import non_negative
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.services import Services
from llmgate_plugins.types import EMPTY, Deployment, Request

__all__ = ["Weighted"]

SHUFFLED: Final = 32
"""Up to so many deployments the whole order is drawn; of more, only the first places."""
DRAWS: Final = 32
"""Draws for those places. Enough for any failover; the rest keep their given order."""

Table = tuple[Sequence[Deployment], tuple[Deployment, ...], tuple[float, ...], bool]
"""Whose table it is; those with a weight and then those without; sums of the weights;
whether some have none."""


class Weighted(Preferring):
    """A random order in which the first place falls to each as often as its weight says.

    The second place is drawn from the rest in the same way, and so on. A weight of 0 makes
    a last resort, behind all others.

    Args:
        weights: Deployment id -> weight, 0 or more; those it leaves out weigh what their
            configuration says (`Deployment.weight`).
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = {name: _check(name, weight) for name, weight in (weights or EMPTY).items()}
        self._tables: dict[str, Table] = {}

    def rank(
        self,
        request: Request,  # noqa: ARG002 - one signature for all
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002
        call: Call,
        services: Services,  # noqa: ARG002
    ) -> Ranking:
        """By lot: the same call draws the same order of the same deployments."""
        whose, ordered, sums, has_zero = self._table(deployments)
        lots = Lots(call.draw("weighted"))
        if len(whose) <= SHUFFLED:
            order: Sequence[Deployment] = self._shuffle(ordered, lots)
        else:
            order = _draw(ordered, sums, lots)
            if has_zero:  # those left out follow in their given order, and some must be last
                drawn = set(order)
                order = [*order, *(one for one in ordered if one not in drawn)]
        return Ranking(order, reason="by weight")

    def _weight(self, deployment: Deployment) -> float:
        weight = self._weights.get(deployment.id)
        return deployment.weight if weight is None else weight

    def _table(self, deployments: Sequence[Deployment]) -> Table:
        """Made once for each tuple of deployments, which gateways hand out again and again."""
        if not deployments:
            return (), (), (), False
        alias = deployments[0].alias
        known = self._tables.get(alias)
        if known is not None and known[0] is deployments:
            return known
        weights = [(_check(one.id, self._weight(one)), one) for one in deployments]
        heavy = [(weight, one) for weight, one in weights if weight > 0]
        light = tuple(one for weight, one in weights if weight == 0)
        sums = tuple(accumulate(weight for weight, _ in heavy))
        table = (deployments, (*(one for _, one in heavy), *light), sums, bool(light))
        if isinstance(deployments, tuple):
            if len(self._tables) >= 1024:
                self._tables.clear()
            self._tables[alias] = table
        return table

    def _shuffle(self, ordered: Sequence[Deployment], lots: Lots) -> list[Deployment]:
        """The whole order: each draws a time of arrival, sooner the heavier it is."""
        if len(ordered) == 1:
            return list(ordered)
        arrivals = []
        for place, one in enumerate(ordered):
            weight = self._weight(one)
            # 1 - a lot is never 0, so that the logarithm exists
            when = -math.log(1.0 - lots.next()) / weight if weight > 0 else math.inf
            arrivals.append((when, place, one))
        arrivals.sort(key=lambda arrival: arrival[:2])
        return [one for _, _, one in arrivals]


def _draw(ordered: Sequence[Deployment], sums: Sequence[float], lots: Lots) -> list[Deployment]:
    """The first places, at a cost that does not grow with the number of deployments."""
    if not sums:
        return list(ordered)
    drawn: dict[int, None] = {}
    for _ in range(DRAWS):
        drawn[min(bisect_right(sums, lots.next() * sums[-1]), len(sums) - 1)] = None
    return [ordered[place] for place in drawn]


def _check(id: str, weight: float) -> float:
    return non_negative(f"the weight of {id!r}", weight)
