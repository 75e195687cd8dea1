"""For which calls an experiment is: what the rules of policies ask, or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmgate_plugins.context import Context
from llmgate_plugins.policies import Rule, matcher
from llmgate_plugins.policies.conditions import Condition as Asked
from llmgate_plugins.policies.rules import Read
from llmgate_plugins.types import EMPTY, Request

__all__ = ["Condition", "condition_of", "may_both_match"]

Condition = Callable[[Request, Context], bool]


def condition_of(when: Any, aliases: Mapping[str, str] = EMPTY) -> Condition:
    """Facts and what they must be, a CEL expression, or a function of a request and its context.

    One that cannot be evaluated for a call does not match.

    Args:
        aliases: Another name of a model -> the alias it leads to.

    Raises:
        ValueError: It makes no sense.
        ImportError: It is an expression, and the extra `cel` is not installed.
    """
    if callable(when):
        return when  # type: ignore[no-any-return]
    return matcher(_rule(when), aliases)


def may_both_match(one: Any, other: Any) -> bool:
    """Whether a call may match both. Of functions and expressions nobody can tell: no."""
    if any(callable(when) or isinstance(when, str) for when in (one, other)):
        return False
    if not one or not other:
        return True
    here, there = (Read(_rule(when), 0).conditions for when in (one, other))
    return not any(name in there and _apart(asked, there[name]) for name, asked in here.items())


def _rule(when: Any) -> Rule:
    return Rule(use="", when=when, name="when")


def _apart(one: Asked, other: Asked) -> bool:
    """Whether no value is surely allowed by both."""
    return any(
        not (here.negated or here.patterns) and not any(map(there.allows, here.values))
        for here, there in ((one, other), (other, one))
    )
