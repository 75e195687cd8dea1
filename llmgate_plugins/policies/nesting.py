"""Policies that hand calls on to others: what they refer to, and no circles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from llmgate_plugins.policies.facts import DECLARED
from llmgate_plugins.policies.policy import Policy, digest

__all__ = ["circle_of", "settled"]


def settled(policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """The policies with their names, and with versions that change with all that they refer to.

    Raises:
        ValueError: A target leads nowhere or in a circle, or `by` is no fact of the context.
    """
    for name, policy in policies.items():
        if policy.by is not None and policy.by not in DECLARED:
            raise ValueError(f"policy {name!r}: by must be one of {', '.join(DECLARED)}, not {policy.by!r}")
        for target in policy.targets:
            if target.policy is not None and target.policy not in policies:
                raise ValueError(f"policy {name!r}: no policy {target.policy!r} to hand calls on to")
        circle = circle_of(name, policies)
        if circle:
            raise ValueError(f"policies run in a circle: {' -> '.join(circle)}")
    done: dict[str, Policy] = {}
    for name in policies:
        _settle(name, policies, done)
    return {name: done[name] for name in policies}


def circle_of(name: str, policies: Mapping[str, Policy]) -> tuple[str, ...]:
    """The way from a policy through its targets back to itself; empty if there is none."""
    ways: list[tuple[str, ...]] = [(name,)]
    seen = set[str]()
    while ways:
        way = ways.pop()
        policy = policies.get(way[-1])
        for target in policy.targets if policy is not None else ():
            if target.policy == name:
                return (*way, name)
            if target.policy is not None and target.policy not in seen:
                seen.add(target.policy)
                ways.append((*way, target.policy))
    return ()


def _settle(name: str, policies: Mapping[str, Policy], done: dict[str, Policy]) -> Policy:
    if name in done:
        return done[name]
    policy = replace(policies[name], name=name)
    inner = [_settle(one.policy, policies, done) for one in policy.targets if one.policy is not None]
    if inner and policy.version == digest(policy.content()):
        versions = [(one.name, one.version) for one in inner]
        policy = replace(policy, version=digest(f"{policy.content()} {versions}"))
    done[name] = policy
    return policy
