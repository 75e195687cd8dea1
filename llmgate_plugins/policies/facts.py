"""What rules may ask about a call, and which of it the caller cannot choose."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final

from llmgate_plugins.context import Context
from llmgate_plugins.types import Request

__all__ = ["ASKED", "DECLARED", "Fact", "fact_of", "is_trusted"]

DECLARED: Final = (
    "tenant", "team", "project", "user", "feature", "cohort", "environment", "key", "region",
    "data_class", "session", "priority",
)  # fmt: skip
"""Facts of the context, which only the application sets."""
ASKED: Final = ("alias", "operation", "stream")
"""What the application asks for; of its names for a model, the alias it leads to."""

Fact = Callable[[Request, Context], "str | None"]
"""Reads one fact of a call, as a word; None where it is not declared."""


def is_trusted(name: str) -> bool:
    """Whether the caller of the application cannot choose it."""
    return not name.startswith("tag:")


def fact_of(name: str, alias_of: Callable[[str], str]) -> Fact:
    """The function that reads this fact.

    Args:
        name: "team", "alias" ..., "extra:NAME" for a further fact of the application's own,
            "tag:NAME" for a label that its caller chose.
        alias_of: What a name of a model leads to.

    Raises:
        ValueError: There is no such fact.
    """
    kind, _, rest = name.partition(":")
    if kind == "tag" and rest:
        return lambda request, context: request.tags.get(rest)  # noqa: ARG005 - one signature for all
    if kind == "extra" and rest:
        return lambda request, context: context.extra.get(rest)  # noqa: ARG005
    match name:
        case "alias":
            return lambda request, context: alias_of(request.model)  # noqa: ARG005
        case "operation":
            return lambda request, context: request.operation  # noqa: ARG005
        case "stream":
            return lambda request, context: "true" if request.stream else "false"  # noqa: ARG005
        case "priority":
            return lambda request, context: str(context.priority)  # noqa: ARG005
    if name in DECLARED:
        read = attrgetter(name)
        return lambda request, context: read(context)  # noqa: ARG005
    known = ", ".join((*DECLARED, *ASKED, "extra:NAME", "tag:NAME"))
    raise ValueError(f"there is no fact {name!r}; known are {known}")
