"""One usage of several requests that a provider made of one, and bills one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from llmgate_plugins.money import BUCKETS, Iteration, Usage

__all__ = ["iterated"]


def iterated(
    whole: Usage | None, told: Iterable[tuple[Any, Any, Usage | None]], tier: str = ""
) -> Usage | None:
    """The sum of all that is billed.

    Anthropic's kinds: "message" is the model that was asked (each turn with a tool of the
    provider's own is one), "compaction" a summary that it made first, "advisor_message" another
    model that it asked, "fallback_message" another model that answered in its place. A model
    that declined is billed for some categories and not for others, which nobody tells: then the sum
    is marked as estimated.

    Args:
        whole: What the totals say. They leave out some of the iterations, or none.
        told: (kind, model, usage) of each.
        tier: How they were served, where the totals tell nothing.
    """
    kinds, parts = [], []
    for kind, model, usage in told:
        if usage is not None:
            kinds.append((kind, model))
            parts.append(Iteration(usage, model if isinstance(model, str) else None))
    if not parts or (len(parts) == 1 and kinds[0][0] in (None, "message")):
        return whole
    asked = whole or Usage(tier=tier)
    doubtful = asked.estimated or any(one.usage.estimated for one in parts)
    served = {model for kind, model in kinds if kind == "fallback_message"}
    if served and any(kind == "message" and model not in served for kind, model in kinds):
        doubtful = True
    if (
        sum(one.usage.total_input for one in parts) < asked.total_input
        or sum(one.usage.total_output for one in parts) < asked.total_output
    ):
        parts.append(Iteration(asked))  # the list is not whole
        doubtful = True
    sums = {bucket: sum(getattr(one.usage, bucket) for one in parts) for bucket in BUCKETS}
    thought = min(max(asked.reasoning - sums["reasoning"], 0), sums["output"])
    sums["output"] -= thought  # only the totals tell it
    sums["reasoning"] += thought
    return replace(asked, **sums, estimated=doubtful, iterations=tuple(parts))
