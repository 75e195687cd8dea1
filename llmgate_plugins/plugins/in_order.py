"""Deployments in the order of the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins.decisions import Ranking
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.types import Deployment

__all__ = ["InOrder"]


class InOrder:
    """The first configured deployment serves; the others stand by in their order.

    Without any ranking plugin this is what happens anyway, except in a host that has a
    strategy of its own: there this plugin overrules it.
    """

    @hookimpl
    def rank_deployments(self, deployments: Sequence[Deployment]) -> Ranking:
        """All of them, as they come."""
        return Ranking(deployments, reason="configured order")
