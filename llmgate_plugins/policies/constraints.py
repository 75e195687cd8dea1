"""What a policy rules out whatever is asked: by what a deployment declares, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmgate_plugins.policies.policy import Policy
from llmgate_plugins.types import NANO, Deployment, Price

__all__ = ["asked_by", "is_above", "is_narrow", "names_of", "objection"]

_NARROWING: Final = (
    "region", "provider", "only", "ignore", "capabilities", "terms", "max_price", "cleared", "context_fit",
)  # fmt: skip
_BINDING: Final = (*_NARROWING, "data_class", "own")


def is_narrow(policy: Policy) -> bool:
    """Whether it rules out anything by itself."""
    return any(getattr(policy, name) for name in _NARROWING)


def asked_by(policies: Iterable[Policy]) -> list[dict[str, Any]]:
    """What policies ask of deployments and calls, as plain values; nothing of those that ask for nothing."""
    asked = [{name: value for name in _BINDING if (value := getattr(one, name))} for one in policies]
    return [one for one in asked if one]


def objection(policy: Policy, deployment: Deployment) -> str | None:
    """Why this deployment may serve no call under this policy, as one of `REASONS`; None if it may.

    What depends on the call is left open: the class of its data, what it will cost and
    whether it fits.
    """
    names = names_of(deployment)
    if policy.region and deployment.region not in policy.region:
        return "region"
    if policy.provider and deployment.provider not in policy.provider:
        return "provider"
    if policy.only and names.isdisjoint(policy.only):
        return "not_in_policy"
    if policy.ignore and not names.isdisjoint(policy.ignore):
        return "ignored"
    if not deployment.capabilities.issuperset(policy.capabilities):
        return "capability"
    if not deployment.terms.issuperset(policy.terms):
        return "terms"
    if policy.cleared and deployment.data_classes is None:
        return "data_class"
    if policy.context_fit and deployment.context_window is None:
        return "context_window"
    if policy.max_price:
        if deployment.price is None:
            return "price_unknown"
        if is_above(deployment.price, policy.max_price):
            return "price"
    return None


def names_of(deployment: Deployment) -> frozenset[str]:
    """What `only` and `ignore` may call it."""
    return frozenset((deployment.id, deployment.provider, f"{deployment.provider}/{deployment.model}"))


def is_above(price: Price, most: Mapping[str, float]) -> bool:
    """Whether a million tokens of some bucket cost more than this many US dollars."""
    return any(getattr(price, bucket) > usd * NANO for bucket, usd in most.items() if bucket != "call")
