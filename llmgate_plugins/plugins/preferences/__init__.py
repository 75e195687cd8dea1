"""What deployments may be preferred by: one module for each preference."""

from __future__ import annotations

from collections.abc import Mapping

from llmgate_plugins.plugins.preferences.cheapest import Cheapest
from llmgate_plugins.plugins.preferences.fastest import Fastest
from llmgate_plugins.plugins.preferences.in_order import InOrder
from llmgate_plugins.plugins.preferences.preferring import Learning, Preferring
from llmgate_plugins.plugins.preferences.weighted import Weighted
from llmgate_plugins.policies import Policy

__all__ = ["Cheapest", "Fastest", "InOrder", "Learning", "Preferring", "Weighted", "preference_of"]


def preference_of(prefer: str | Mapping[str, float], policy: Policy) -> Preferring:
    """What ranks for a policy.

    Args:
        prefer: The name of a preference, or names with weights.
        policy: Whose goals are kept where a preference keeps goals.

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
