"""Several preferences, each with a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Scores
from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.plugins.observations import Experience
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import EMPTY, Deployment, Request

__all__ = ["Weighing"]

FURTHEST: Final = 1_000.0
"""A score counts as at most so many times as bad as the best: nothing is without any price."""
UNKNOWN: Final = 2.0
"""A deployment of which one preference knows nothing counts there as at least so many times as bad."""


@dataclass(frozen=True, slots=True)
class _Weighed(Scores):
    """Scores, and what each of several preferences made of them."""

    parts: Mapping[str, Mapping[str, float]] = field(default=EMPTY)


class Weighing(Scored):
    """The lowest product of scores first, each to the power of its weight.

    Each score is divided by the best one among the candidates: 1 is the best, 2 twice as dear,
    twice as slow, or needing twice as many attempts. So it does not matter what is counted in
    which unit, nor who else is there: with weights of a half, half the price makes up for twice
    the time. (The weighted product model: Bridgman 1922; Miller and Starr 1969.)

    Args:
        parts: The preferences.
        weights: Of each, above 0.
        name: In what is recorded.
        goals: See `Scored`.
    """

    unit = "times the best"

    def __init__(
        self, parts: Sequence[Scored], weights: Sequence[float], name: str = "balanced", **goals: Any
    ) -> None:
        super().__init__(**goals)
        self.prefers = name
        self._parts = tuple(parts)
        for part, weight in zip(parts, weights, strict=True):
            positive(f"the weight of {part.prefers!r}", weight)
        whole = sum(weights)
        self._weights = tuple(weight / whole for weight in weights)
        self._learning = tuple(part for part in parts if part.learns)
        self.learns = bool(self._learning)
        self.near = math.prod(part.near**weight for part, weight in zip(parts, self._weights, strict=True))

    def is_known(self, known: Experience, request: Request, now: float) -> bool:
        """Whether all of them know it."""
        return all(part.is_known(known, request, now) for part in self._learning)

    def nominated(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        """A few of each."""
        found: dict[Deployment, None] = {}
        for part in self._parts:
            found.update(dict.fromkeys(part.nominated(deployments)))
        return tuple(found)

    def scores(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Scores | None]:
        """How many times as bad as the best."""
        answers = [part.scores(request, deployments, context, call, services) for part in self._parts]
        there = [answer for answer in answers if answer is None or isinstance(answer, Scores)]
        if len(there) < len(answers):
            return self._when_there(answers, deployments)
        return self._together(there, deployments)

    async def _when_there(
        self, answers: Sequence[MaybePending[Scores | None]], deployments: Sequence[Deployment]
    ) -> Scores | None:
        return self._together([await arrived(answer) for answer in answers], deployments)

    def _together(self, answers: Sequence[Scores | None], deployments: Sequence[Deployment]) -> Scores | None:
        values = dict.fromkeys([one.id for one in deployments], 1.0)
        parts: dict[str, Mapping[str, float]] = {}
        state: dict[str, dict[str, Any]] = {}
        for part, weight, scores in zip(self._parts, self._weights, answers, strict=True):
            if scores is None or not scores.values:
                continue
            parts[part.prefers] = ratios = _ratios(scores.values)
            unknown = max(UNKNOWN, *ratios.values()) if len(ratios) < len(values) else UNKNOWN
            for name in values:
                values[name] *= ratios.get(name, unknown) ** weight
            for name, facts in scores.state.items():
                if name in state:
                    state[name].update(facts)
                else:
                    state[name] = dict(facts)
        if not parts:
            return Scores({}, self.unit) if self.learns else None
        return _Weighed(values, self.unit, state, parts)

    def parts(self, scores: Scores) -> Mapping[str, Mapping[str, float]]:
        """Of each preference, how many times as bad as the best."""
        return scores.parts if isinstance(scores, _Weighed) else EMPTY


def _ratios(values: Mapping[str, float]) -> dict[str, float]:
    """Each divided by the best; the worst is never further away than `FURTHEST`."""
    best = max(min(values.values()), max(values.values()) / FURTHEST)
    if best <= 0.0:
        return dict.fromkeys(values, 1.0)
    return {name: max(value / best, 1.0) for name, value in values.items()}
