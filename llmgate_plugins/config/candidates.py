"""Whether anybody is left to serve: each policy and rule beside the deployments, with prices and all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.policy_checks import conditions_on
from llmgate_plugins.config.problems import Path
from llmgate_plugins.errors import Problem
from llmgate_plugins.policies import Policy, Rule
from llmgate_plugins.policies.constraints import objection
from llmgate_plugins.types import Deployment

__all__ = ["candidate_problems"]

Group = Sequence[Deployment]
_SHOWN: Final = 3
"""So many names of a list are written out."""


def candidate_problems(config: GatewayConfig, deployments: Group) -> Iterator[Problem]:
    """Policies and rules under which nobody is left, prices that are not known, data that may go astray."""
    check = _Candidates(config, deployments)
    yield from check.of_policies()
    yield from check.of_rules()


class _Candidates:
    def __init__(self, config: GatewayConfig, deployments: Group) -> None:
        self.config = config
        self.at = config.locator.problem
        self.policies = config.named_policies()
        self.groups: dict[str, list[Deployment]] = {}
        for one in deployments:
            self.groups.setdefault(one.alias, []).append(one)
        self.rules = [one.rule() for one in config.rules]
        self._lacking: dict[tuple[str, str | None, str | None], dict[str, Counter[str]]] = {}

    def of_policies(self) -> Iterator[Problem]:
        """Each policy by itself."""
        for name, policy in self.policies.items():
            if name not in self.config.policies:
                continue  # LiteLLM's strategy made it
            path: Path = ("policies", name)
            lacking = self._without(name)
            if len(lacking) == len(self.groups) > 0:
                why = _Why(lacking.values())
                yield self.at(path, f"no deployment is eligible under it: {why}", why.remedy)
            elif name == "default" and lacking:
                yield self._some(path, name, lacking)
            yield from self._prices(path, policy)

    def of_rules(self) -> Iterator[Problem]:
        """Each rule, for what its own conditions say of a call."""
        for index, rule in enumerate(self.rules):
            path: Path = ("rules", index)
            if len(self._without(rule.use)) < len(self.groups):
                yield from self._rule(path, rule)
            yield from self._clearance(path, rule)

    def _rule(self, path: Path, rule: Rule) -> Iterator[Problem]:
        named = conditions_on(rule, "alias")
        for region, data_class in product(
            conditions_on(rule, "region") or (None,), conditions_on(rule, "data_class") or (None,)
        ):
            lacking = self._without(rule.use, region, data_class)
            whose = f" in region {region}" if region is not None else ""
            whose += f" with data of class {data_class}" if data_class is not None else ""
            dead = [alias for alias in (named or self.groups) if alias in lacking]
            if not dead:
                continue
            if named or len(dead) == len(self.groups):
                why = _Why(lacking[alias] for alias in dead)
                message = f"calls of {_listed(dead)}{whose} find no deployment under {rule.use!r}: {why}"
                yield self.at(path, message, why.remedy)
                return
            if rule.use != "default":
                yield self._some(path, rule.use, lacking, whose)
                return

    def _some(self, path: Path, policy: str, lacking: Mapping[str, Counter[str]], whose: str = "") -> Problem:
        why = _Why(lacking.values())
        return self.at(
            path,
            f"calls of {_listed(list(lacking))}{whose} find no deployment under {policy!r}: {why}",
            "this is right if they are not meant to be served",
            severity="warning",
        )

    def _prices(self, path: Path, policy: Policy) -> Iterator[Problem]:
        prefer = policy.prefer
        words = () if prefer is None else (prefer,) if isinstance(prefer, str) else tuple(prefer)
        by_price = not {"cheapest", "balanced"}.isdisjoint(words)
        if not by_price and not policy.max_price:
            return
        unknown = dict.fromkeys(
            f"{one.provider}/{one.model}"
            for group in self.groups.values()
            for one in group
            if one.price is None and objection(policy, one) in (None, "price_unknown")
        )
        if not unknown:
            return
        what = "it is not eligible" if policy.max_price else "it comes last"
        where = ("require", "max_price") if policy.max_price else ("prefer",)
        yield self.at(
            (*path, *where),
            f"nobody knows the price of {_listed(list(unknown))}: {what} under this policy",
            "write it under prices",
            severity="warning",
        )

    def _clearance(self, path: Path, rule: Rule) -> Iterator[Problem]:
        """Data of a class may go to who declares none, if its policy does not ask for clearance."""
        classes = conditions_on(rule, "data_class")
        policy = self.policies.get(rule.use)
        if not classes or policy is None or any(one.cleared for way in self._ways(policy) for one in way):
            return
        named = conditions_on(rule, "alias") or tuple(self.groups)
        silent = [
            one.id
            for alias in named
            for one in self.groups.get(alias, ())
            if one.data_classes is None and self._eligible(policy, one, None)
        ]
        if silent:
            yield self.at(
                path,
                f"data of class {_listed(classes)} may go to {_listed(silent)}: no data_classes declared",
                f"write cleared: true under require of {rule.use}, and data_classes under model_info",
                severity="warning",
            )

    # ------------------------------------------------------------ who is left

    def _without(
        self, policy: str, region: str | None = None, data_class: str | None = None
    ) -> Mapping[str, Counter[str]]:
        """Alias -> how often which reason, of those that have nobody left for such a call."""
        key = (policy, region, data_class)
        known = self._lacking.get(key)
        if known is None:
            known = self._lacking[key] = {}
            for alias, group in self.groups.items():
                reasons = [self._reason(self.policies[policy], one, region, data_class) for one in group]
                if all(reasons):
                    known[alias] = Counter(filter(None, reasons))
        return known

    def _reason(
        self, policy: Policy, deployment: Deployment, region: str | None, data_class: str | None
    ) -> str | None:
        if region is not None and deployment.region != region:
            return "region"
        declared = deployment.data_classes
        if data_class is not None and declared is not None and data_class not in declared:
            return "data_class"
        reasons = [_objection(way, deployment, data_class) for way in self._ways(policy)]
        return None if None in reasons else reasons[0]

    def _eligible(self, policy: Policy, deployment: Deployment, data_class: str | None) -> bool:
        return self._reason(policy, deployment, None, data_class) is None

    def _ways(self, policy: Policy) -> Iterator[tuple[Policy, ...]]:
        """Every way through its targets, as the policies that hold on it."""
        if not policy.targets:
            yield (policy,)
        for target in policy.targets:
            if target.policy is None:
                yield policy, Policy(only=target.only)
            else:
                for rest in self._ways(self.policies[target.policy]):
                    yield policy, *rest


def _objection(way: Sequence[Policy], deployment: Deployment, data_class: str | None) -> str | None:
    for one in way:
        if one.data_class and data_class is not None and data_class not in one.data_class:
            return "data_class"
        reason = objection(one, deployment)
        if reason is not None:
            return reason
    return None


class _Why:
    """How often which reason stands in the way."""

    def __init__(self, counts: Iterable[Counter[str]]) -> None:
        self._counts: Counter[str] = sum(counts, Counter())

    def __str__(self) -> str:
        (first, number), *more = self._counts.most_common()
        told = f"{number} {'is' if number == 1 else 'are'} left out for {first}"
        return ", ".join([told, *(f"{number} for {reason}" for reason, number in more)])

    @property
    def remedy(self) -> str:
        """What to do about the most frequent one."""
        return _REMEDIES.get(self._counts.most_common(1)[0][0], "widen what it requires, or add a deployment")


_REMEDIES: Final[Mapping[str, str]] = {
    "region": "declare regions under model_info, or require others",
    "terms": "declare terms under model_info, or require fewer",
    "data_class": "declare data_classes under model_info, or require others",
    "price": "raise max_price, or add a cheaper deployment",
    "price_unknown": "write the prices under prices",
    "capability": "declare capabilities under model_info, or require fewer",
    "context_window": "declare max_input_tokens under model_info",
}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
