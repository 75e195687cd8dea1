"""What deployments may be preferred by: one module for each preference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.plugins.preferences.cheapest import Cheapest
from llmgate_plugins.plugins.preferences.expected import expected_cost
from llmgate_plugins.plugins.preferences.fastest import Fastest
from llmgate_plugins.plugins.preferences.in_order import InOrder
from llmgate_plugins.plugins.preferences.most_reliable import MostReliable
from llmgate_plugins.plugins.preferences.named import Named
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.plugins.preferences.weighing import Weighing
from llmgate_plugins.plugins.preferences.weighted import Weighted
from llmgate_plugins.policies import Policy
from llmgate_plugins.policies.preferences import UNWEIGHED

__all__ = [
    "BALANCED",
    "Cheapest",
    "Fastest",
    "InOrder",
    "MostReliable",
    "Named",
    "Preferring",
    "Scored",
    "Weighing",
    "Weighted",
    "expected_cost",
    "preference_of",
]

BALANCED: Final[Mapping[str, float]] = {"cheapest": 1 / 3, "fastest": 1 / 3, "most_reliable": 1 / 3}
"""What `balanced` stands for."""
_SCORED: Final[Mapping[str, type[Scored]]] = {
    "cheapest": Cheapest,
    "fastest": Fastest,
    "most_reliable": MostReliable,
}


def preference_of(prefer: str | Mapping[str, float], policy: Policy) -> Preferring:
    """What ranks for a policy.

    Args:
        prefer: The name of a preference, or names with weights. A name that is not built in is
            asked of plugins, by the hook `score_deployments`.
        policy: Whose goals are kept.

    Raises:
        ValueError: What has no scores cannot be weighed; a weight makes no sense.
    """
    goals = {name: getattr(policy, name) for name in ("p50", "p95", "p99", "success")}
    if isinstance(prefer, str):
        match prefer:
            case "ordered":
                return InOrder()
            case "weighted":
                return Weighted()
            case "balanced":
                return _weighing(BALANCED, "balanced", goals)
        kind = _SCORED.get(prefer)
        return Named(prefer, **goals) if kind is None else kind(**goals)
    return _weighing(prefer, "weights", goals)


def _weighing(weights: Mapping[str, float], name: str, goals: Mapping[str, Any]) -> Weighing:
    parts: dict[str, float] = {}
    for part, weight in weights.items():
        if part in UNWEIGHED:
            raise ValueError(f"{part!r} has no scores, and so cannot be weighed against others")
        for one, share in BALANCED.items() if part == "balanced" else ((part, 1.0),):
            if weight:
                parts[one] = parts.get(one, 0.0) + weight * share
    scored = [_SCORED[part]() if part in _SCORED else Named(part) for part in parts]
    return Weighing(scored, tuple(parts.values()), name, **goals)
