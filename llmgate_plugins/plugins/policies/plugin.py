"""Named sets of rules, of which one is picked for each call: by the application, or by rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Drop, Ranking
from llmgate_plugins.errors import RequestDenied
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.failover import MOST_ATTEMPTS
from llmgate_plugins.plugins.pending import then
from llmgate_plugins.plugins.policies.chain import Chain, Chains
from llmgate_plugins.plugins.stickiness import Stickiness
from llmgate_plugins.policies import Policy, Rule, Rules, settled
from llmgate_plugins.policies.rules import NO_MATCH
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import EMPTY, Attempt, Deployment, Outcome, Request

__all__ = ["POLICY", "Policies"]

POLICY: Final[StashKey[str]] = StashKey("policy")
"""Name of a policy that a call goes on under. What its own policy rules out stays ruled out."""


class _Course:
    """What was chosen for one call, and the chain that holds as things stand.

    Attributes:
        roots: The policies it is under before any target, the chosen one last.
        rule: Name of the rule that chose it.
        instead: The policy it goes on under, as of the last look.
        chain: What holds since then.
    """

    __slots__ = ("chain", "instead", "roots", "rule")

    def __init__(self, roots: Sequence[Policy], rule: str | None) -> None:
        self.roots = roots
        self.rule = rule
        self.instead: str | None = None
        self.chain: Chain | None = None


COURSE: Final[StashKey[_Course]] = StashKey("policies: course")


class Policies:
    """Applies the policy that `context.policy` names, else that of the first rule that matches,
    else the one called "default".

    Constraints fail closed: a call whose context names a policy that does not exist is denied,
    and of a rule that cannot be evaluated the constraints hold. Preferences fail open. Without a
    policy called "default", calls that nothing else is said of go unruled.

    A rule that reads what a caller can choose (tags, or in an expression what depends on messages)
    only narrows: what the call would be under without it stays in force. In the same way a
    plugin may let a call go on under another policy (`call.stash[POLICY]`): that one prefers
    from then on and may rule out further deployments; it allows none that the call's own
    policy does not.

    Args:
        policies: Name -> `Policy`, or a mapping of its fields.
        rules: Which policy calls are under; the first that matches wins.
        aliases: Another name of a model, or a deployment's id -> the alias it leads to, for rules
            about aliases.
        with_fallbacks: Names of models that have fallbacks of their own, which win over a policy's.

    Raises:
        ValueError: A policy or a rule makes no sense; the message names it.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy | Mapping[str, Any]],
        rules: Iterable[Rule | Mapping[str, Any]] = (),
        *,
        aliases: Mapping[str, str] = EMPTY,
        with_fallbacks: Collection[str] = (),
    ) -> None:
        settled_ones = settled({name: _as_policy(name, given) for name, given in policies.items()})
        self._chains = Chains(settled_ones)
        self._rules = Rules(map(_as_rule, rules), aliases)
        self._with_fallbacks = frozenset(with_fallbacks)
        self._stickiness = Stickiness()
        for rule in self._rules.rules:
            if rule.use not in settled_ones:
                raise ValueError(f"{rule.name}: there is no policy called {rule.use!r}")
        self.policies: Final[Mapping[str, Policy]] = settled_ones
        self._plain = {} if self._rules else self._chains.plain()

    @hookimpl
    def admit_request(self, request: Request, context: Context, call: Call) -> Request | None:
        """Choose the policy; deny what it does not cover; set its deadline, bounds and fallbacks."""
        terms = self._chain(request, context, call, None).terms
        if terms is None:
            return None
        if terms.max_attempts is not None:
            call.stash[MOST_ATTEMPTS] = terms.max_attempts
        changes: dict[str, Any] = {}
        if terms.fallback_to and request.fallbacks is None and request.model not in self._with_fallbacks:
            changes["fallbacks"] = terms.fallback_to
        if terms.deadline is not None and (request.timeout is None or terms.deadline < request.timeout):
            changes["timeout"] = terms.deadline
        if terms.on_break is not None and request.on_break is None:
            changes["on_break"] = terms.on_break
        return request.replace(**changes) if changes else None

    @hookimpl(tryfirst=True)  # whoever reads `call.policies` then sees what holds now
    def narrow_deployments(
        self, deployments: Sequence[Deployment], context: Context, call: Call
    ) -> Drop | None:
        """Drop what the policies in force do not allow."""
        chain = self._chain(call.request, context, call, deployments)
        return chain.constraints.drop(deployments, call.request, context)

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
        course = call.stashed(COURSE)
        chain = course.chain if course is not None else None
        if chain is None:
            chain = self._chain(request, context, call, deployments)
        ranks, sticky = chain.ranks, chain.sticky
        ranking = None if ranks is None else ranks.rank(request, deployments, context, call, services)
        if sticky is None:
            return ranking
        kept = self._stickiness.kept
        return then(
            ranking, lambda found: kept(sticky, ranks, found, request, deployments, context, call, services)
        )

    @hookimpl
    def end_attempt(
        self, attempt: Attempt, outcome: Outcome, call: Call, services: Services
    ) -> MaybePending[object]:
        """Remember where a prompt is warm now, and forget where it is not."""
        return self._stickiness.end_attempt(attempt, outcome, call, services)

    def _chain(
        self, request: Request, context: Context, call: Call, deployments: Sequence[Deployment] | None
    ) -> Chain:
        """The chain that holds for this call now; noted where it is another than before.

        Raises:
            RequestDenied: It does not allow such data, or there is no such policy.
        """
        course, instead = call.stashed(COURSE), call.stashed(POLICY)
        if course is None:
            plain = self._plain.get(context.policy) if instead is None else None
            if plain is not None:
                if call.policies is not plain.policies:
                    self._apply(plain, None, context, call)
                return plain
            course = call.stash[COURSE] = self._course(request, context, call)
        held = course.chain
        if held is not None and instead == course.instead and not held.moves:
            return held
        chain = self._chains.start
        roots = course.roots if instead is None else (*course.roots, self._named(instead))
        for root in roots:
            chain = chain.then(root).led(deployments, request, context, call)
        course.instead = instead
        if chain is not held:
            self._apply(chain, course.rule, context, call)
            course.chain = chain
        return chain

    def _course(self, request: Request, context: Context, call: Call) -> _Course:
        """Who chooses: the application, a rule, or nobody."""
        if context.policy is not None:
            return _Course((self._named(context.policy),), None)
        match = self._rules.match(request, context) if self._rules else NO_MATCH
        base = self._chains.policies.get(match.base or "default")
        roots = [] if base is None else [base]  # first: where it leads depends on nothing else
        roots += [self._chains.bare[name] for name in match.doubted]
        if match.further is not None:
            roots.append(self._chains.narrowing[match.further])
        for rule, error in match.errors:
            problem = f"{rule} could not be evaluated, its constraints hold: {type(error).__name__}: {error}"
            call.record.problems.append(("Policies", "admit_request", problem))
        return _Course(roots, match.rule)

    def _apply(self, chain: Chain, rule: str | None, context: Context, call: Call) -> None:
        """Note what holds from now on.

        Raises:
            RequestDenied: It does not allow such data.
        """
        policies = chain.policies
        if not policies:
            return
        applied = policies[-1]
        call.apply_policy(applied.name or "", applied.version, rule, policies)
        if len(policies) > 1:
            call.record.notes = {**call.record.notes, "policies": [one.name for one in policies]}
        if chain.bars(context):
            raise RequestDenied(
                f"data of class {context.data_class or 'undeclared'} is not allowed here", code="data_class"
            )

    def _named(self, name: str) -> Policy:
        policy = self._chains.policies.get(name)
        if policy is None:
            raise RequestDenied(f"there is no policy called {name!r}", code="policy")
        return policy


def _as_policy(name: str, given: Policy | Mapping[str, Any]) -> Policy:
    if isinstance(given, Policy):
        return given
    unknown = set(given) - {field.name for field in fields(Policy)}
    if unknown:
        raise ValueError(f"policy {name!r}: unknown key {min(unknown)!r}")
    try:
        return Policy(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"policy {name!r}: {error}") from None


def _as_rule(given: Rule | Mapping[str, Any]) -> Rule:
    return given if isinstance(given, Rule) else Rule(**given)
