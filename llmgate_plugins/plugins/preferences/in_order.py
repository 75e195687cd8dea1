"""Deployments in the order of the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.services import Services
from llmgate_plugins.types import Deployment, Request

__all__ = ["InOrder"]


class InOrder(Preferring):
    """The first configured deployment serves; the others stand by in their order.

    Without any ranking plugin this is what happens anyway, except in a host that has a
    strategy of its own: there this plugin overrules it.
    """

    def rank(
        self,
        request: Request,  # noqa: ARG002 - one signature for all
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002
        call: Call,  # noqa: ARG002
        services: Services,  # noqa: ARG002
    ) -> Ranking:
        """All of them, as they come."""
        return Ranking(deployments, reason="configured order")
