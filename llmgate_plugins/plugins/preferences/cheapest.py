"""The cheapest deployment first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.plugins.arguments import non_negative
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.services import Services
from llmgate_plugins.types import NANO, Deployment, Request

__all__ = ["Cheapest"]


class Cheapest(Preferring):
    """The lowest expected price first; deployments without a known price last.

    The scores are US dollars per million tokens, input and output mixed.

    Args:
        input_share: What part of the tokens is expected to be input, 0 to 1.
    """

    def __init__(self, input_share: float = 0.75) -> None:
        if non_negative("input_share", input_share) > 1:
            raise ValueError(f"input_share must be between 0 and 1, not {input_share!r}")
        self._share = input_share
        self._rankings: dict[str, tuple[Sequence[Deployment], Ranking]] = {}

    def rank(
        self,
        request: Request,  # noqa: ARG002 - one signature for all
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002
        call: Call,  # noqa: ARG002
        services: Services,  # noqa: ARG002
    ) -> Ranking:
        """By price; worked out once for each tuple of deployments."""
        alias = deployments[0].alias if deployments else ""
        known = self._rankings.get(alias)
        if known is not None and known[0] is deployments:
            return known[1]
        ranking = self._ranked(deployments)
        if isinstance(deployments, tuple):
            if len(self._rankings) >= 1024:
                self._rankings.clear()
            self._rankings[alias] = (deployments, ranking)
        return ranking

    def _ranked(self, deployments: Sequence[Deployment]) -> Ranking:
        share = self._share
        scores = {
            one.id: (one.price.input * share + one.price.output * (1 - share)) / NANO
            for one in deployments
            if one.price is not None
        }
        order = sorted(deployments, key=lambda one: scores.get(one.id, math.inf))
        return Ranking(order, scores=scores, reason="cheapest first, USD per million tokens")
