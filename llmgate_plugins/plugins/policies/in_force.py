"""What policies that hold together rule out: by what is declared, and by what a call needs and costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.plugins.policies.per_call import Asked, CallPrice, Clearance, Fit, PerCall, TierPrice
from llmgate_plugins.policies import Policy
from llmgate_plugins.policies.constraints import is_narrow, objection
from llmgate_plugins.types import Deployment, Request
from llmgate_plugins.usage import estimate_usage

__all__ = ["Constraints"]


class Constraints:
    """What some policies rule out together.

    What depends on the deployments alone is worked out once for each group of them; what
    depends on the call as well, once for each kind of calls that makes no difference to it.

    Args:
        policies: All of them hold.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(filter(is_narrow, policies))
        self._per_call = tuple(_per_call(self._policies))
        self._sized = any(one.sized for one in self._per_call)
        self._drops = PerGroup(self._drop)

    def drop(self, deployments: Sequence[Deployment], request: Request, context: Context) -> Drop | None:
        """Whom they rule out, with the first reason of each; the same object while nothing changes."""
        if not self._policies or not deployments:
            return None
        if not self._per_call:
            return self._drops.of(deployments, ())
        read = estimate_usage(request, 0).input if self._sized else 0
        asked = Asked(deployments, request, context, read)
        key = tuple([one.key(asked) for one in self._per_call])
        return self._drops.of(deployments, key)

    def _drop(self, deployments: Sequence[Deployment], key: tuple[Any, ...]) -> Drop | None:
        reasons = {}
        for one in deployments:
            reason = self._objection(one, key)
            if reason is not None:
                reasons[one.id] = reason
        return Drop(reasons) if reasons else None

    def _objection(self, deployment: Deployment, key: tuple[Any, ...]) -> str | None:
        for policy in self._policies:
            reason = objection(policy, deployment)
            if reason is not None:
                return reason
        for constraint, kind in zip(self._per_call, key, strict=True):
            if constraint.rules_out(deployment, kind):
                return constraint.reason
        return None


def _per_call(policies: Sequence[Policy]) -> list[PerCall[Any]]:
    found: list[PerCall[Any]] = []
    if any(one.cleared for one in policies):
        found.append(Clearance())
    for one in policies:
        if one.max_price.keys() - {"call"}:
            found.append(TierPrice(one.max_price))
        if "call" in one.max_price:
            found.append(CallPrice(one.max_price["call"]))
    if any(one.context_fit for one in policies):
        found.append(Fit())
    return found
