"""Named sets of rules, of which the application's context picks one for each call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Drop, Ranking
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.in_order import InOrder
from llmgate_plugins.plugins.preferences import Cheapest, Fastest
from llmgate_plugins.plugins.weighted import Weighted
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Deployment, OnBreak, Outcome, Request

__all__ = ["POLICY", "Policies", "Policy", "Preference"]

Preference = Literal["ordered", "weighted", "cheapest", "fastest"]
Preferring = InOrder | Weighted | Cheapest | Fastest

_LISTS: Final = ("region", "data_class", "capabilities", "provider", "only", "ignore", "fallback_to")
_SECONDS: Final = ("deadline", "p50", "p95", "p99")

POLICY: Final[StashKey[str]] = StashKey("policy")
"""Name of a policy that a call goes on under. What its own policy rules out stays ruled out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one policy asks for. What is not declared is never good enough.

    Attributes:
        prefer: Which deployment to try first; None for no opinion.
        region: A deployment must declare one of these.
        data_class: The call's context must declare one of these.
        capabilities: A deployment must declare all of these.
        provider: A deployment must be of one of these.
        only, ignore: Deployment ids, providers or "provider/model": nothing else, never these.
        fallback_to: Aliases to go on with, where the application named none itself.
        deadline: Seconds for a call with all its attempts.
        max_attempts: Most attempts of one call, fallbacks included.
        p50, p95, p99: Goals in seconds for `prefer="fastest"`.
        on_break: What happens when a stream breaks after its first content, where the call
            itself does not say: "raise", "restart", "resume" or "hold" (see `Request`).
        version: Names this state of the policy in the books; None for eight hex digits that
            change with its content.
    """

    prefer: Preference | None = None
    region: Sequence[str] = ()
    data_class: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    provider: Sequence[str] = ()
    only: Sequence[str] = ()
    ignore: Sequence[str] = ()
    fallback_to: Sequence[str] = ()
    deadline: float | None = None
    max_attempts: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    on_break: OnBreak | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        if self.prefer is not None and self.prefer not in get_args(Preference):
            raise ValueError(f"prefer must be one of {', '.join(get_args(Preference))}, not {self.prefer!r}")
        for name in _LISTS:
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(  # noqa: TRY004 - every refusal here is a ValueError
                    f"{name} must be a list of names, not the text {value!r}"
                )
            object.__setattr__(self, name, tuple(value))
        for name in _SECONDS:
            value = getattr(self, name)
            if value is not None:
                positive(name, value)
        if self.max_attempts is not None:
            whole("max_attempts", self.max_attempts)
        if self.on_break is not None and self.on_break not in get_args(OnBreak):
            raise ValueError(f"on_break must be one of {', '.join(get_args(OnBreak))}, not {self.on_break!r}")
        if self.version is None:
            content = repr([(field.name, getattr(self, field.name)) for field in fields(self)])
            object.__setattr__(self, "version", hashlib.sha256(content.encode()).hexdigest()[:8])

    def objection(self, deployment: Deployment) -> str | None:
        """Why this deployment may not serve, as a reason code; None if it may."""
        names = {deployment.id, deployment.provider, f"{deployment.provider}/{deployment.model}"}
        if self.region and deployment.region not in self.region:
            return "region"
        if self.provider and deployment.provider not in self.provider:
            return "provider"
        if self.only and names.isdisjoint(self.only):
            return "not_in_policy"
        if self.ignore and not names.isdisjoint(self.ignore):
            return "ignored"
        if not deployment.capabilities.issuperset(self.capabilities):
            return "capability"
        return None

    def preference(self) -> Preferring | None:
        """The plugin that ranks for this policy."""
        match self.prefer:
            case "ordered":
                return InOrder()
            case "weighted":
                return Weighted()
            case "cheapest":
                return Cheapest()
            case "fastest":
                return Fastest(p50=self.p50, p95=self.p95, p99=self.p99)
            case None:
                return None


class _Applied:
    """A policy at work: its ranking plugin, and what it said of deployments it has seen."""

    __slots__ = ("name", "narrows", "policy", "ranks", "seen")

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self.policy = policy
        self.ranks = policy.preference()
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
        objections = {one.id: why for one in deployments if (why := self.policy.objection(one)) is not None}
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
        self._learning = tuple(one.ranks for one in self._policies.values() if isinstance(one.ranks, Fastest))

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
        call.apply_policy(applied.name, policy.version)
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
        call.apply_policy(instead.name, instead.policy.version)
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
    ) -> Ranking | None:
        """What the policy prefers."""
        applied = self._instead(call) or self._of(context)
        ranks = applied.ranks if applied is not None else None
        if ranks is None:
            return None
        if isinstance(ranks, (InOrder, Cheapest)):
            return ranks.rank_deployments(deployments)
        if isinstance(ranks, Weighted):
            return ranks.rank_deployments(deployments, services)
        return ranks.rank_deployments(request, deployments, services)

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

    def _named(self, name: str) -> _Applied:
        applied = self._policies.get(name)
        if applied is None:
            raise RequestDenied(f"there is no policy called {name!r}", code="policy")
        return applied


def _as_policy(name: str, given: Policy | Mapping[str, Any]) -> Policy:
    if isinstance(given, Policy):
        return given
    unknown = set(given) - {field.name for field in fields(Policy)}
    if unknown:
        raise ValueError(f"policy {name!r}: unknown key {min(unknown)!r}")
    try:
        return Policy(**given)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: {error}") from None
