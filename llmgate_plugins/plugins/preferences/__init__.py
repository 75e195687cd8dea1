"""What policies may prefer among the deployments that are left: one module for each preference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.plugins.in_order import InOrder
from llmgate_plugins.plugins.preferences.cheapest import Cheapest
from llmgate_plugins.plugins.preferences.fastest import Fastest
from llmgate_plugins.plugins.weighted import Weighted
from llmgate_plugins.policies import Policy
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["Cheapest", "Fastest", "Learning", "Preferring", "preference_of"]


class Preferring(Protocol):
    """Ranks for a policy."""

    def rank(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """An order among deployments, at least one; None for no opinion."""


@runtime_checkable
class Learning(Preferring, Protocol):
    """A preference that learns by itself is told how attempts end."""

    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """As of a plugin."""


def preference_of(prefer: str | Mapping[str, float], policy: Policy) -> Preferring:
    """What ranks by this preference, for this policy.

    Raises:
        ValueError: Nothing here is called so.
    """
    match prefer:
        case "ordered":
            return InOrder()
        case "weighted":
            return Weighted()
        case "cheapest":
            return Cheapest()
        case "fastest":
            return Fastest(p50=policy.p50, p95=policy.p95, p99=policy.p99)
    raise ValueError(f"there is no preference {prefer!r}")
