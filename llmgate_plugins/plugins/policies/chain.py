"""The policies that hold for a call, one after the other, and where their targets lead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.draws import arrival, draw
from llmgate_plugins.plugins.policies.in_force import Constraints
from llmgate_plugins.plugins.preferences import Preferring, preference_of
from llmgate_plugins.policies import Policy, Sticky, Target
from llmgate_plugins.types import Deployment, OnBreak, Request

__all__ = ["Chain", "Chains"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What policies that hold together settle when a call is let in, as `Policy` has it.

    The shortest time and the fewest attempts hold; of the rest the last one speaks.
    """

    deadline: float | None
    max_attempts: int | None
    fallback_to: tuple[str, ...]
    on_break: OnBreak | None


class Chain:
    """Policies whose constraints hold together, the applied one last. Shared by calls; never changes.

    Attributes:
        policies: All of them.
        constraints: What they rule out.
        ranks: The preference of the last one that has one.
        sticky: How calls are kept where a cache is warm, by the last one that says.
        ways: Where the last one hands calls on to: (target, the chain with it).
        terms: What they settle when a call is let in; None for nothing.
        moves: Whether one of them hands calls on, which depends on the call and on who is there.
    """

    __slots__ = (
        "_chains", "_next", "_order", "constraints", "moves", "policies", "ranks", "sticky", "terms",
        "ways",
    )  # fmt: skip

    def __init__(self, chains: Chains, order: tuple[Policy, ...]) -> None:
        self._chains = chains
        self._next: dict[int, Chain] = {}
        self._order = order
        self.policies = policies = tuple(sorted(order, key=chains.applies))
        self.moves = any(one.targets for one in policies)
        self.constraints = Constraints(policies)
        self.terms = _terms(policies)
        self.ranks = next(filter(None, map(chains.preference, reversed(policies))), None)
        sticky = (one.sticky for one in reversed(policies))
        self.sticky = next((one for one in sticky if isinstance(one, Sticky)), None)
        targets = chains.targets(order[-1]) if order else ()
        self.ways: tuple[tuple[Target, Chain], ...] = tuple(
            [(target, self.then(policy)) for target, policy in targets]
        )

    def then(self, policy: Policy) -> Chain:
        """These and one more; as a rule the same object each time."""
        known = self._next.get(id(policy))
        if known is None:
            known = Chain(self._chains, (*self._order, policy))
            if self._chains.has_room():
                self._next[id(policy)] = known
        return known

    def bars(self, context: Context) -> bool:
        """Whether data of this class may not be sent under them at all."""
        data_class = context.data_class
        for one in self.policies:
            if (one.data_class and data_class not in one.data_class) or (one.cleared and data_class is None):
                return True
        return False

    def serves(self, deployments: Sequence[Deployment] | None, request: Request, context: Context) -> bool:
        """Whether they leave a deployment for this call; None: who is there is not known yet."""
        if self.bars(context):
            return False
        if deployments is not None:
            drop = self.constraints.drop(deployments, request, context)
            if drop is not None and len(drop.reasons) >= len(deployments):
                return False
        return not self.ways or any(way.serves(deployments, request, context) for _, way in self.ways)

    def led(
        self, deployments: Sequence[Deployment] | None, request: Request, context: Context, call: Call
    ) -> Chain:
        """The chain with the targets that this call is handed on to, down to one that has none."""
        chain = self
        while chain.ways:
            open_ways = [one for one in chain.ways if one[1].serves(deployments, request, context)]
            chain = _chosen(chain._order[-1], open_ways or chain.ways, context, call)
        return chain


class Chains:
    """All chains of some policies, made when first needed.

    Args:
        policies: Name -> policy; targets lead among them.

    Attributes:
        start: The empty chain.
        policies: As written.
        narrowing: Without what can do more than narrow: no other fallbacks, nothing on how streams
            break.
        bare: Without their preferences, too.

    Raises:
        ValueError: A preference is not what it seems; the message names the policy.
    """

    MOST: Final = 1024
    """Chains that are kept: which rules cannot be evaluated may be up to a caller's tags."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self.policies: Final = dict(policies)
        self.narrowing: Final = {
            name: replace(one, fallback_to=(), on_break=None) for name, one in policies.items()
        }
        self.bare: Final = {
            name: replace(one, prefer=None, sticky=None) for name, one in self.narrowing.items()
        }
        self._kin = {
            id(one): among for among in (self.policies, self.narrowing, self.bare) for one in among.values()
        }
        ranks = {name: _ranks(name, one) for name, one in policies.items()}
        self._preferences = {
            id(one): ranks[name] for among in (self.policies, self.narrowing) for name, one in among.items()
        }
        self._parts: dict[int, tuple[tuple[Target, Policy], ...]] = {}
        self._made = 0
        self.start: Final = Chain(self, ())

    def has_room(self) -> bool:
        """Whether one more is kept."""
        self._made += 1
        return self._made <= self.MOST

    def plain(self) -> dict[str | None, Chain]:
        """Name of a policy that hands nothing on -> its chain; None -> the default one, or none at all."""
        chains: dict[str | None, Chain] = {name: self.start.then(one) for name, one in self.policies.items()}
        chains[None] = chains.get("default", self.start)
        return {name: chain for name, chain in chains.items() if not chain.moves}

    def applies(self, policy: Policy) -> bool:
        """Whether it may be the applied one: of a bare one only the constraints hold."""
        return self._kin.get(id(policy)) is not self.bare

    def preference(self, policy: Policy) -> Preferring | None:
        """What ranks for this policy; None for no opinion of its own."""
        return self._preferences.get(id(policy))

    def targets(self, policy: Policy) -> tuple[tuple[Target, Policy], ...]:
        """Each target with the policy that holds there; one that only names deployments is made one."""
        if not policy.targets:
            return ()
        known = self._parts.get(id(policy))
        if known is None:
            among = self._kin[id(policy)]
            known = self._parts[id(policy)] = tuple(
                [
                    (one, among[one.policy] if one.policy is not None else _part(policy, one))
                    for one in policy.targets
                ]
            )
        return known


def _terms(policies: Sequence[Policy]) -> Terms | None:
    terms = Terms(
        deadline=min((one.deadline for one in policies if one.deadline is not None), default=None),
        max_attempts=min(
            (one.max_attempts for one in policies if one.max_attempts is not None), default=None
        ),
        fallback_to=next((tuple(one.fallback_to) for one in reversed(policies) if one.fallback_to), ()),
        on_break=next((one.on_break for one in reversed(policies) if one.on_break is not None), None),
    )
    return None if terms == Terms(None, None, (), None) else terms


def _part(policy: Policy, target: Target) -> Policy:
    """The deployments that a target names, under the name of the policy that has it."""
    return Policy(only=target.only, name=policy.name, version=policy.version)


def _ranks(name: str, policy: Policy) -> Preferring | None:
    if policy.prefer is None:
        return None
    try:
        return preference_of(policy.prefer, policy)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: prefer: {error}") from None


def _chosen(policy: Policy, ways: Sequence[tuple[Target, Chain]], context: Context, call: Call) -> Chain:
    """The first of them, or by lot: each as often as its weight says (weighted rendezvous hashing)."""
    if len(ways) == 1 or ways[0][0].weight is None:
        return ways[0][1]
    whom = getattr(context, policy.by) if policy.by is not None else None
    best, least = ways[0][1], math.inf
    for target, chain in ways:
        if not target.weight:
            continue
        purpose = f"policies: {policy.name}: {target.policy or ','.join(target.only)}"
        lot = call.draw(purpose) if whom is None else draw(purpose, f"{policy.by}={whom}")
        when = arrival(lot, target.weight)
        if when < least:
            best, least = chain, when
    return best
