"""What becomes of a call when a limit is exhausted, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.context import Call
from llmgate_plugins.plugins.estimates import worst_cost
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.limits.counts import Count, Rule
from llmgate_plugins.plugins.limits.limit import Instead, Limit
from llmgate_plugins.services import Refusal
from llmgate_plugins.types import Deployment, Request

__all__ = ["alias_of", "code_of", "denial", "is_tight", "note", "policy_of", "wants"]


def wants(rule: Rule, what: str) -> bool:
    """Whether one of its limits says so of calls that do not fit."""
    return any(limit.on_exhausted == what for limit in rule.limits)


def policy_of(limit: Limit) -> str | None:
    """The policy under which calls go on when it is exhausted. One in shadow moves nothing."""
    instead = limit.on_exhausted
    return instead.policy if isinstance(instead, Instead) and not limit.shadow else None


def alias_of(limit: Limit) -> str | None:
    """The alias under which they go on, in the same way."""
    instead = limit.on_exhausted
    return instead.alias if isinstance(instead, Instead) and not limit.shadow else None


def is_tight(count: Count, request: Request, deployments: Sequence[Deployment], now: float) -> bool:
    """Whether the dearest deployment no longer fits, as far as this process knows."""
    if count.rule.mode == "soft" or count.is_short(now):
        return count.is_short(now)
    if count.rule.kind != "budget" or count.is_over(now):
        return False
    left = count.limit.limit - count.spent - count.held
    assumed = count.limit.assume_output
    return any(worst_cost(one, request, assume_output=assumed) > left for one in deployments)


def code_of(rule: Rule) -> str:
    """The short word for programs."""
    return "budget" if rule.kind == "budget" else "limit"


def note(call: Call, count: Count, what: str) -> None:
    """Into the call's decision record."""
    record = call.record
    notes = record.notes
    entry: Mapping[str, Any] = {"key": count.key, "mode": count.rule.mode, "what": f"{count} {what}"}
    record.notes = {**notes, "limits": [*notes.get("limits", ()), entry]}


def denial(count: Count, wanted: int, refusal: Refusal) -> str:
    """Which limit, how much of it is left, when there is more, and what to do."""
    kind = count.rule.kind
    if kind == "concurrency":
        return f"{count} is reached: so many are under way; try again when one has ended, or raise the limit"
    if wanted > count.limit.limit:
        return (
            f"{count} is less than this call may use: {words.amount(kind, wanted)}. "
            "You can ask for a shorter answer (max_tokens), or have the limit raised"
        )
    left = f"{words.amount(kind, refusal.available)} are left" if refusal.available else "nothing is left"
    told = f"{count} is used up: {left}"
    if not count.rule.by_one:
        told += f", and this call may use {words.amount(kind, wanted)}"
    if refusal.retry_at is not None:
        told += f"; it resets at {words.moment(refusal.retry_at, count.window)}"
    advice = "try again then" if refusal.retry_at is not None else "try again later"
    if not count.rule.by_one and refusal.available:
        advice += ", ask for a shorter answer (max_tokens)"
    return f"{told}. You can {advice}, or have the limit raised"
