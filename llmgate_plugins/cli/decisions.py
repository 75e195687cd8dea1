"""How a decision record is told to people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from llmgate_plugins.cli.output import (
    clock_time,
    count,
    seconds,
    short,
    table,
    tokens,
    usd,
    width,
    wrapped,
)
from llmgate_plugins.foresight import Foreseen
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.selections import MOST_NAMED, Selection
from llmgate_plugins.types import Attempt, Outcome

__all__ = ["explanation", "how_it_ended", "summary"]


def summary(record: DecisionRecord) -> str:
    """A call in one line: who served, attempts, times, tokens, cost."""
    served = record.served_by or record.status
    if record.served_by is None and record.denied_by:
        served += f" by {record.denied_by}"
    parts = [served]
    if record.attempts:
        parts.append(count(len(record.attempts), "attempt"))
    parts.append(seconds(record.latency))
    if record.first_token is not None:
        parts.append(f"first token {seconds(record.first_token)}")
    if record.attempts:
        parts += [tokens(record.usage), usd(record.cost)]
    return " | ".join(parts)


def explanation(record: DecisionRecord, foreseen: Sequence[Foreseen] = ()) -> list[str]:
    """Who was considered, what removed whom, what was chosen, and how each attempt went.

    Args:
        foreseen: What plugins would say to attempts, where none was made.
    """
    lines = [f"Call {record.call_id}: {record.model!r}, {record.status}"]
    who = {name: value for name in _WHO if (value := getattr(record.context, name)) is not None}
    for label, facts in (("for", who), ("tags", record.tags), ("experiments", record.experiments)):
        if facts:
            told = (f"{name}={short(str(value))}" for name, value in facts.items())
            lines.append(f"  {label}: {', '.join(told)}")
    if record.shadow_of is not None:
        lines.append(f"  shadow of call {record.shadow_of}")
    if record.policy is not None:
        lines.append(f"  {_policy(record)}")
    if record.denied_by:
        lines.append(f"  {record.denied_by}: {record.reason or record.status}")
    elif record.reason:
        lines.append(f"  gave up: {record.reason}")
    if record.error is not None:
        lines.append(f"  {record.error}")
    lines = [wrapped(line, " " * (len(line) - len(line.lstrip()) + 4)) for line in lines]
    for selection in record.selections:
        lines += _selection(selection, foreseen)
    rest = []
    if record.attempts:
        rest.append("  attempts:")
        for attempt, outcome in record.attempts:
            rest.append(f"    {_attempt(attempt, outcome)}")
            rest += [f"      {change}" for change in attempt.adapted]
    rest += [f"  {plugin} failed in {hook}: {error}" for plugin, hook, error in record.problems]
    rest += [f"  {topic}: {_note(note)}" for topic, note in record.notes.items()]
    if record.status != "open":
        per_1k = record.cost_per_1k
        rest.append(f"  {summary(record)}" + (f" | {usd(per_1k)} per 1K tokens" if per_1k else ""))
    return lines + [wrapped(line, " " * (len(line) - len(line.lstrip()) + 4)) for line in rest]


_WHO: Final = (
    *("tenant", "team", "project", "user", "feature", "cohort", "environment", "region", "data_class"),
    *("session", "policy"),
)


def _policy(record: DecisionRecord) -> str:
    told = f"policy {record.policy}" + (f" version {record.policy_version}" if record.policy_version else "")
    return told + (f", by {record.rule}" if record.rule else "")


def _note(note: object) -> str:
    if isinstance(note, Sequence) and not isinstance(note, str):
        return "; ".join(
            str(one["what"]) if isinstance(one, Mapping) and "what" in one else _note(one) for one in note
        )
    if isinstance(note, Mapping):
        return ", ".join(
            _fact(name, value) for name, value in note.items() if value not in (None, (), [], {})
        )
    return str(note)


def _fact(name: object, value: object) -> str:
    text = str(name)
    if text.endswith("_nano_usd") and isinstance(value, int):
        return f"{text.removesuffix('_nano_usd')} {usd(value)}"
    return f"{text} {_note(value) if isinstance(value, Sequence | Mapping) else _value(value)}"


def _selection(selection: Selection, foreseen: Sequence[Foreseen]) -> Iterator[str]:
    how = f"by {selection.ranked_by}" if selection.ranked_by else "as configured"
    reason = f": {selection.reason}" if selection.reason else ""
    number = count(selection.number, "candidate")
    yield wrapped(f"  {selection.alias}: {number}, {selection.eligible} eligible, {how}{reason}", "      ")
    if len(selection.policies) > 1:
        yield wrapped(f"    under {', '.join(selection.policies)}", "      ")
    said = {name: [one for one in foreseen if one.deployment == name] for name in selection.order}
    rows = [
        (f"{place}.", short(name), _score(selection, name), _why(selection, name, said[name]))
        for place, name in enumerate(selection.order[:MOST_NAMED], start=1)
    ]
    named = selection.named
    rows += [("-", short(name), "", _dropped(selection, name)) for name in named if name in selection.dropped]
    if rows:
        yield from (
            f"    {line}" for line in table(rows, ("", "candidate", "score", "why"), room=width() - 4)
        )
    beyond = selection.number - len(rows)
    if beyond > 0:
        named_reasons = Counter(selection.dropped[name][0] for name in named if name in selection.dropped)
        more = [f"{total - named_reasons[why]} {why}" for why, total in selection.reasons.items()]
        more = [one for one in more if not one.startswith("0 ")]
        left = selection.eligible - min(len(selection.order), MOST_NAMED)
        more += [f"{left} eligible"] if left > 0 else []
        yield wrapped(f"    and {beyond} more: {', '.join(more)}", "      ")


def _score(selection: Selection, name: str) -> str:
    score = selection.scores.get(name)
    return "" if score is None else f"{score:.4g}"


def _why(selection: Selection, name: str, said: Sequence[Foreseen]) -> str:
    """What the score was made of, and what plugins would say."""
    parts = [f"{part} {scores[name]:.4g}" for part, scores in selection.parts.items() if name in scores]
    facts = [f"{fact} {_value(value)}" for fact, value in selection.state.get(name, {}).items()]
    ahead = [
        f"{one.plugin} would {_WOULD[one.objection.action]}: {one.objection.reason}"
        + (f" ({one.objection.detail})" if one.objection.detail else "")
        for one in said
    ]
    return "; ".join(filter(None, (", ".join(parts), ", ".join(facts), *ahead)))


_WOULD: Final = {"deny": "deny", "skip": "skip it", "wait": "make it wait", "elsewhere": "go elsewhere"}


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _dropped(selection: Selection, name: str) -> str:
    reason, plugin = selection.dropped[name]
    back = selection.until.get(name)
    until = f", until {clock_time(back)}" if back is not None else ""
    return f"{reason} ({plugin}){until}"


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
        by = f" ({outcome.skipped_by})" if outcome.skipped_by else ""
        return f"skipped: {outcome.skipped}{by}"
    failure = outcome.failure
    if failure is None:
        return outcome.status
    facts = []
    if failure.status is not None:
        facts.append(f"HTTP {failure.status}")
    if failure.retry_after is not None:
        facts.append(f"retry after {failure.retry_after:g} s")
    return failure.error_class.value + (f" ({', '.join(facts)})" if facts else "")
