"""What all preferences are: plugins that rank, which policies may ask as well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import Deployment, Request

__all__ = ["Preferring"]


class Preferring(ABC):
    """Puts deployments in order: for a policy that prefers so, or as a plugin of its own."""

    @abstractmethod
    def rank(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """Best first; None for no opinion."""

    @hookimpl
    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """As `rank`, of every call."""
        return self.rank(request, deployments, context, call, services)
