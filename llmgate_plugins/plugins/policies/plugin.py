"""Named sets of rules, of which the application's context picks one for each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Drop, Ranking
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.preferences import Learning, preference_of
from llmgate_plugins.policies import Policy
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["POLICY", "Policies"]

POLICY: Final[StashKey[str]] = StashKey("policy")
"""Name of a policy that a call goes on under. What its own policy rules out stays ruled out."""


class _Applied:
    """A policy at work: its ranking plugin, and what it said of deployments it has seen."""

    __slots__ = ("name", "narrows", "policy", "ranks", "seen")

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.policy = policy
        self.ranks = None if policy.prefer is None else preference_of(policy.prefer, policy)
        self.narrows = any(
            getattr(policy, name) for name in ("region", "capabilities", "provider", "only", "ignore")
        )
        self.seen: dict[str, tuple[Sequence[Deployment], Drop | None]] = {}

    def drop(self, deployments: Sequence[Deployment]) -> Drop | None:
        """Whom the policy rules out; worked out once for each tuple of deployments."""
        if not self.narrows or not deployments:
            return None
        alias = deployments[0].alias
        known = self.seen.get(alias)
        if known is not None and known[0] is deployments:
            return known[1]
        objections = {one.id: why for one in deployments if (why := _objection(self.policy, one)) is not None}
        drop = Drop(objections) if objections else None
        if isinstance(deployments, tuple):
            if len(self.seen) >= 1024:
                self.seen.clear()
            self.seen[alias] = (deployments, drop)
        return drop


class Policies:
    """Applies the policy that `context.policy` names, or the one called "default".

    Fails closed: a call whose context names a policy that does not exist is denied.
    Without a policy called "default", calls that name none go unruled.

    A plugin may let a call go on under another policy (`call.stash[POLICY]`): that one ranks
    from then on and may rule out further deployments; it allows none that the call's own
    policy does not.

    Args:
        policies: Name -> `Policy`, or a mapping of its fields.
    """

    def __init__(self, policies: Mapping[str, Policy | Mapping[str, Any]]) -> None:
        self._policies = {name: _Applied(name, _as_policy(name, given)) for name, given in policies.items()}
        ranking = (one.ranks for one in self._policies.values())
        self._learning = tuple(one for one in ranking if isinstance(one, Learning))

    @hookimpl
    def admit_request(self, request: Request, context: Context, call: Call) -> Request | None:
        """Deny what no policy covers; set the policy's deadline, bounds and fallbacks."""
        applied, instead = self._of(context), self._instead(call)
        for one in (applied, instead):
            if one is not None and one.policy.data_class and context.data_class not in one.policy.data_class:
                raise RequestDenied(
                    f"data of class {context.data_class or 'undeclared'} is not allowed here",
                    code="data_class",
                )
        applied = instead or applied
        if applied is None:
            return None
        policy = applied.policy
        call.apply_policy(applied.name, policy.version, policies=self._in_force(context, call))
        if policy.max_attempts is not None:
            call.stash[MOST_ATTEMPTS] = policy.max_attempts
        changes: dict[str, Any] = {}
        if policy.fallback_to and request.fallbacks is None:
            changes["fallbacks"] = policy.fallback_to
        if policy.deadline is not None and (request.timeout is None or policy.deadline < request.timeout):
            changes["timeout"] = policy.deadline
        if policy.on_break is not None and request.on_break is None:
            changes["on_break"] = policy.on_break
        return request.replace(**changes) if changes else None

    @hookimpl
    def narrow_deployments(
        self, deployments: Sequence[Deployment], context: Context, call: Call
    ) -> Drop | None:
        """Drop what the policy does not allow."""
        applied, instead = self._of(context), self._instead(call)
        drop = applied.drop(deployments) if applied is not None else None
        if instead is None:
            return drop
        call.apply_policy(instead.name, instead.policy.version, policies=self._in_force(context, call))
        further = instead.drop(deployments)
        if drop is None or further is None:
            return drop or further
        return Drop({**further.reasons, **drop.reasons})

    @hookimpl
    def rank_deployments(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """What the policy prefers."""
        applied = self._instead(call) or self._of(context)
        ranks = applied.ranks if applied is not None else None
        return None if ranks is None else ranks.rank(request, deployments, context, call, services)

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Let those learn that rank by what was seen."""
        for one in self._learning:
            one.end_attempt(attempt, outcome, services)

    def _of(self, context: Context) -> _Applied | None:
        name = context.policy
        return self._policies.get("default") if name is None else self._named(name)

    def _instead(self, call: Call) -> _Applied | None:
        name = call.stashed(POLICY)
        return None if name is None else self._named(name)

    def _in_force(self, context: Context, call: Call) -> tuple[Policy, ...]:
        return tuple([one.policy for one in (self._of(context), self._instead(call)) if one is not None])

    def _named(self, name: str) -> _Applied:
        applied = self._policies.get(name)
        if applied is None:
            raise RequestDenied(f"there is no policy called {name!r}", code="policy")
        return applied


def _as_policy(name: str, given: Policy | Mapping[str, Any]) -> Policy:
    if isinstance(given, Policy):
        return replace(given, name=name)
    unknown = set(given) - {field.name for field in fields(Policy)}
    if unknown:
        raise ValueError(f"policy {name!r}: unknown key {min(unknown)!r}")
    try:
        return Policy(**given, name=name)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: {error}") from None


def _objection(policy: Policy, deployment: Deployment) -> str | None:
    """Why this deployment may not serve, as a reason code; None if it may."""
    names = {deployment.id, deployment.provider, f"{deployment.provider}/{deployment.model}"}
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
    return None
