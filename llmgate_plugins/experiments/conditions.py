"""For which calls an experiment is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmgate_plugins.context import Call, Context
from llmgate_plugins.types import Request

__all__ = ["Condition", "condition_of"]

Condition = Callable[[Request, Context, Call], bool]


def condition_of(when: Any) -> Condition:
    """Facts of the context and the alias -> a value or a list of values it may have."""
    if callable(when):
        return when  # type: ignore[no-any-return]
    if not isinstance(when, Mapping):
        raise ValueError(f"when must be a mapping, not {when!r}")  # noqa: TRY004 - as all refusals
    wanted = {name: frozenset([value] if isinstance(value, str) else value) for name, value in when.items()}

    def matches(request: Request, context: Context, call: Call) -> bool:  # noqa: ARG001
        return all(
            (request.model if name == "alias" else getattr(context, name)) in values
            for name, values in wanted.items()
        )

    return matches


def may_both_match(one: Any, other: Any) -> bool:
    """Whether a call may match both, as far as that can be told: only plain facts can be told apart."""
    if callable(one) or callable(other) or isinstance(one, str) or isinstance(other, str):
        return False
    if one is None or other is None:
        return True
    return not any(name in other and _values(one[name]).isdisjoint(_values(other[name])) for name in one)


def _values(value: Any) -> frozenset[Any]:
    return frozenset([value] if isinstance(value, str) else value)
