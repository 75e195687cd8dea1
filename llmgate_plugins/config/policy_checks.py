"""Mistakes in policies and rules that only show beside each other and beside the deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.limit_config import UnderPolicy
from llmgate_plugins.config.policy_config import PolicyConfig
from llmgate_plugins.config.problems import Path, closest
from llmgate_plugins.errors import Problem
from llmgate_plugins.policies import Policy, Rule, Rules
from llmgate_plugins.policies.nesting import circle_of
from llmgate_plugins.policies.preferences import KEEP_GOALS, PREFERENCES

__all__ = ["Known", "check_policies", "conditions_on"]


_NAMED: Final = 'name an id, a provider or "provider/model" of model_list'


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names that policies and rules may go by.

    Attributes:
        serves: Whether a call may ask for a name.
        aliases: Another name -> the alias it leads to.
        selectors: Deployment ids, providers and "provider/model".
        regions: Those that deployments declare; None where some are only known at run time.
        terms: Those that deployments declare.
    """

    serves: Callable[[str], bool]
    aliases: Mapping[str, str]
    providers: frozenset[str]
    selectors: frozenset[str]
    regions: frozenset[str] | None
    terms: frozenset[str]


def check_policies(config: GatewayConfig, known: Known) -> Iterator[Problem]:
    """Every such mistake that can be seen without prices and capabilities.

    Args:
        known: The names that there are.
    """
    policies = {name: one.policy() for name, one in config.policies.items()}
    for name, section in config.policies.items():
        path: Path = ("policies", name)
        yield from _words(config, path, section, known)
        yield from _targets(config, path, section, policies, known)
        yield from _preference(config, path, section)
    yield from _rules(config, known)
    yield from _unused(config)


def _words(config: GatewayConfig, path: Path, policy: PolicyConfig, known: Known) -> Iterator[Problem]:
    """Words of constraints that no deployment goes by."""
    at, required = config.locator.problem, policy.require
    for region in required.region:
        yield from _region(config, (*path, "require", "region"), region, known)
    for term in required.terms:
        if term not in known.terms:
            remedy = closest(term, known.terms) or "declare it under a deployment's model_info"
            yield at((*path, "require", "terms"), f"no deployment declares term {term!r}", remedy)
    for key, names in (("provider", known.providers), ("only", known.selectors)):
        for word in getattr(required, key):
            if word not in names:
                yield at(
                    (*path, "require", key), f"no deployment matches {word!r}", closest(word, names) or _NAMED
                )
    for word in required.ignore:
        if word not in known.selectors:
            yield at(
                (*path, "require", "ignore"),
                f"ignores nothing: no deployment matches {word!r}",
                closest(word, known.selectors) or "drop it",
                severity="warning",
            )


def _region(config: GatewayConfig, path: Path, region: str, known: Known) -> Iterator[Problem]:
    if known.regions is not None and region not in known.regions:
        remedy = closest(region, known.regions) or "declare it under a deployment's model_info"
        yield config.locator.problem(path, f"no deployment declares region {region!r}", remedy)


def _targets(
    config: GatewayConfig, path: Path, section: PolicyConfig, policies: Mapping[str, Policy], known: Known
) -> Iterator[Problem]:
    at = config.locator.problem
    for index, target in enumerate(section.targets):
        here = (*path, "targets", index)
        if target.policy is not None and target.policy not in policies:
            remedy = closest(target.policy, policies) or "add it to policies"
            yield at((*here, "policy"), f"no policy {target.policy!r}", remedy)
        for word in target.only:
            if word not in known.selectors:
                remedy = closest(word, known.selectors) or _NAMED
                yield at((*here, "only"), f"no deployment matches {word!r}", remedy)
    circle = circle_of(str(path[-1]), policies)
    if circle and min(circle) == path[-1]:  # said once for all who are on it
        yield at((*path, "targets"), f"policies run in a circle: {' -> '.join(circle)}", "drop one of them")


def _preference(config: GatewayConfig, path: Path, policy: PolicyConfig) -> Iterator[Problem]:
    prefer = policy.prefer
    names = () if prefer is None else (prefer,) if isinstance(prefer, str) else tuple(prefer)
    foreign = [name for name in names if name not in PREFERENCES]
    if foreign and not config.plugins:
        yield config.locator.problem(
            (*path, "prefer"),
            "there is no such preference unless the program gives a plugin that scores it",
            f"write one of {', '.join(PREFERENCES)}, or name the plugin under plugins",
            severity="warning",
        )
    goals = policy.slo is not None and any(
        (policy.slo.p50, policy.slo.p95, policy.slo.p99, policy.slo.success)
    )
    if goals and not foreign and not KEEP_GOALS.intersection(names):
        yield config.locator.problem(
            (*path, "slo"),
            "is watched for alerts only: what this policy prefers does not look at it",
            f"prefer one of {', '.join(sorted(KEEP_GOALS))} if it should choose by it",
            severity="warning",
        )


# ---------------------------------------------------------------- rules


def conditions_on(rule: Rule, fact: str) -> tuple[str, ...]:
    """The very values that a rule names of a fact; none where it names patterns or exceptions."""
    if isinstance(rule.when, str):
        return ()
    written: Any = rule.when.get(fact, ())
    values = written if isinstance(written, list | tuple) else (written,)
    return tuple([one for one in values if isinstance(one, str) and "*" not in one and "?" not in one])


def _rules(config: GatewayConfig, known: Known) -> Iterator[Problem]:
    at = config.locator.problem
    rules = [one.rule() for one in config.rules]
    for index, rule in enumerate(rules):
        path: Path = ("rules", index)
        if rule.use not in config.policies:
            remedy = closest(rule.use, config.policies) or "add it to policies"
            yield at((*path, "use"), f"no policy {rule.use!r}", remedy)
        for alias in conditions_on(rule, "alias"):
            if not known.serves(alias):
                yield at(
                    (*path, "when", "alias"),
                    f"matches no call: no {alias!r}",
                    closest(alias, config.model_names) or "name a model_name of model_list",
                )
            elif alias in known.aliases:
                yield at(
                    (*path, "when", "alias"),
                    f"matches no call: {alias!r} leads to {known.aliases[alias]!r}, which rules see",
                    f"write {known.aliases[alias]}",
                )
        for region in conditions_on(rule, "region"):
            yield from _region(config, (*path, "when", "region"), region, known)
    yield from _unreachable(config, rules)


def _unreachable(config: GatewayConfig, rules: Sequence[Rule]) -> Iterator[Problem]:
    read = Rules(rules)
    for index, rule in enumerate(read.rules):
        former = read.former(index)
        if former is not None:
            line = config.locator.line_of(("rules", former))
            where = f"on line {line}" if line else f"at rules[{former}]"
            yield config.locator.problem(
                ("rules", index),
                f"is never reached: the rule {where} matches all that it matches",
                "put it before that one, or drop it",
            )
        if rule.expression is not None and rule.expression.constant is False:
            yield config.locator.problem(
                ("rules", index, "when"), "is never true", "write what it should depend on"
            )


def _unused(config: GatewayConfig) -> Iterator[Problem]:
    """Policies to which nothing in the file leads, where rules lead to some."""
    if not config.rules:
        return
    used = {rule.use for rule in config.rules}
    if all(rule.when for rule in config.rules):  # else one of them matches what no other does
        used.add("default")
    used |= {one.policy for policy in config.policies.values() for one in policy.targets if one.policy}
    for entry in (*config.budgets, *config.limits):
        if isinstance(entry.on_exhausted, UnderPolicy):
            used.add(entry.on_exhausted.policy)
    used |= {arm.policy for one in config.experiments.values() for arm in one.arms if arm.policy}
    used |= {one.policy for one in config.shadow if one.policy}
    used |= {one.policy for one in config.shadow_policy}
    for name in config.policies:
        if name not in used:
            yield config.locator.problem(
                ("policies", name),
                "nothing here leads to it: only calls whose context names it go under it",
                "write a rule for it, or drop it",
                severity="warning",
            )
