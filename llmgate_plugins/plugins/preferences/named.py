"""A preference of a third party, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Scores
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import Deployment, Request

__all__ = ["Named"]


class Named(Scored):
    """What a plugin prefers that has the hook `score_deployments`; no opinion where none knows the name.

    Args:
        name: Which the plugin is asked by.
        goals: See `Scored`.
    """

    needs_observations = False

    def __init__(self, name: str, **goals: Any) -> None:
        super().__init__(**goals)
        self.prefers = name

    def scores(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Scores | None]:
        """As the plugin says."""
        return services.score(self.prefers, request, deployments, context, call)
