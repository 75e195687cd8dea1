"""How a decision record is told to people."""

from __future__ import annotations

from collections.abc import Iterator

from llmgate_plugins.cli.output import clock_time, count, seconds, tokens, usd, wrapped
from llmgate_plugins.records import DecisionRecord, Selection
from llmgate_plugins.types import Attempt, Outcome

__all__ = ["explanation", "how_it_ended", "summary"]


def summary(record: DecisionRecord) -> str:
    """A call in one line: who served, attempts, times, tokens, cost."""
    served = record.served_by or (f"answered by {record.denied_by}" if record.denied_by else record.status)
    parts = [served]
    if record.attempts:
        parts.append(count(len(record.attempts), "attempt"))
    parts.append(seconds(record.latency))
    if record.first_token is not None:
        parts.append(f"first token {seconds(record.first_token)}")
    if record.attempts:
        parts += [tokens(record.usage), usd(record.cost)]
    return " | ".join(parts)


def explanation(record: DecisionRecord) -> list[str]:
    """Who was considered, what removed whom, what was chosen, and how each attempt went."""
    lines = [f"Call {record.call_id}: {record.model!r}, {record.status}"]
    who = {
        name: value
        for name in ("tenant", "team", "project", "user", "feature", "cohort", "region", "policy")
        if (value := getattr(record.context, name)) is not None
    }
    for label, facts in (("for", who), ("tags", record.tags)):
        if facts:
            lines.append(f"  {label}: " + ", ".join(f"{name}={value}" for name, value in facts.items()))
    if record.denied_by:
        lines.append(f"  {record.denied_by}: {record.reason or record.status}")
    elif record.reason:
        lines.append(f"  gave up: {record.reason}")
    for selection in record.selections:
        lines += _selection(selection)
    if record.attempts:
        lines.append("  attempts:")
        for attempt, outcome in record.attempts:
            lines.append(f"    {_attempt(attempt, outcome)}")
            lines += [f"      {change}" for change in attempt.adapted]
    lines += [f"  {plugin} failed in {hook}: {error}" for plugin, hook, error in record.problems]
    per_1k = record.cost_per_1k
    lines.append(f"  {summary(record)}" + (f" | {usd(per_1k)} per 1K tokens" if per_1k else ""))
    return [wrapped(line, " " * (len(line) - len(line.lstrip()) + 4)) for line in lines]


def _selection(selection: Selection) -> Iterator[str]:
    yield f"  {selection.alias}: considered {', '.join(selection.considered) or 'nothing'}"
    for name, (reason, plugin) in selection.dropped.items():
        back = selection.until.get(name)
        until = f", until {clock_time(back)}" if back is not None else ""
        yield f"    without {name}: {reason} ({plugin}){until}"
    if selection.order:
        why = f" by {selection.ranked_by}" if selection.ranked_by else " as configured"
        reason = f": {selection.reason}" if selection.reason else ""
        yield f"    order{why}{reason}"
        for place, name in enumerate(selection.order, start=1):
            score = selection.scores.get(name)
            yield f"      {place}. {name}" + ("" if score is None else f"  (score {score:.4g})")


def _attempt(attempt: Attempt, outcome: Outcome) -> str:
    why = "" if attempt.reason == "first" else f" ({attempt.reason.replace('_', ' ')})"
    told = f"{attempt.number}. {attempt.deployment.id}{why}: {how_it_ended(outcome)}"
    if outcome.status == "skipped":
        return told
    spent = f", {tokens(outcome.usage)}, {usd(outcome.cost)}" if outcome.usage.total else ""
    return f"{told} after {seconds(outcome.latency)}{spent}"


def how_it_ended(outcome: Outcome) -> str:
    """ "success", "rate_limit (HTTP 429, retry after 2 s)", "skipped: budget"."""
    if outcome.status == "skipped":
        return f"skipped: {outcome.skipped}"
    failure = outcome.failure
    if failure is None:
        return outcome.status
    facts = []
    if failure.status is not None:
        facts.append(f"HTTP {failure.status}")
    if failure.retry_after is not None:
        facts.append(f"retry after {failure.retry_after:g} s")
    return failure.error_class.value + (f" ({', '.join(facts)})" if facts else "")
