"""What a call's row holds, and rows about calls: as plain values, told as an attempt's are."""

from __future__ import annotations

import math
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.ledger.plain import dump_json, plain_text
from llmgate_plugins.ledger.rows import CONTEXT_COLUMNS, TOKEN_COLUMNS, usage_columns
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback

__all__ = ["CALL_JSON", "assignment_rows", "brief_columns", "call_row", "closed_columns", "feedback_row"]

CALL_JSON = ("tags", "extra", "problems", "decision", "experiments", "shape")

_BLANK: dict[str, Any] = {
    **dict.fromkeys(("call_id", "at", "model", "operation", "stream", "status")),
    **dict.fromkeys(("served_by", "served_provider", "served_model", "served_alias", "first_deployment")),
    "attempts": 0,
    **dict.fromkeys(TOKEN_COLUMNS, 0),
    "estimated": False,
    "cost_nano_usd": 0,
    **dict.fromkeys(
        ("latency_s", "first_token_s", "denied_by", "reason", "error", "error_class", "trace_id")
    ),
    **dict.fromkeys(CONTEXT_COLUMNS.values()),
    **dict.fromkeys(("policy_version", "rule", "shadow_of", "priority", *CALL_JSON)),
}
"""The row of a call of which nothing is known, columns in the order of the table."""


def call_row(record: DecisionRecord) -> dict[str, Any]:
    """The row of a call that is over, all of its columns in the order of the table."""
    return _BLANK | closed_columns(record)


def closed_columns(record: DecisionRecord) -> dict[str, Any]:
    """What there is to say in it."""
    decision = record.told()
    decision.pop("shape", None)  # it has a column of its own
    row = brief_columns(record)
    row["problems"] = dump_json(decision.get("problems") or [])
    row["decision"] = dump_json(decision)
    if record.shape:
        row["shape"] = dump_json(record.shape)
    return row


def brief_columns(record: DecisionRecord) -> dict[str, Any]:
    """What there is to say in it, without what was decided and why: a fraction of the work."""
    context = record.context
    row: dict[str, Any] = {
        "call_id": plain_text(record.call_id),
        "at": record.at,
        "model": plain_text(record.model),
        "operation": record.operation,
        "stream": record.stream,
        "status": record.status,
        "attempts": sum([outcome.status != "skipped" for _, outcome in record.attempts]),
        "latency_s": record.latency,
        "reason": plain_text(record.reason),
        **usage_columns(record.usage),
        **_context_columns(context),
        "priority": context.priority,
        "tags": dump_json(dict(record.tags)),
        "extra": dump_json(context.extra),
        "problems": "[]",
        "decision": "{}",
        **_serving_columns(record),
    }
    if cost := record.cost:
        row["cost_nano_usd"] = cost
    if record.first_token is not None:
        row["first_token_s"] = record.first_token
    if record.denied_by is not None:
        row["denied_by"] = plain_text(record.denied_by)
    if record.error is not None:
        row["error"] = plain_text(record.error)
    if record.trace_id is not None:
        row["trace_id"] = plain_text(record.trace_id)
    if record.policy is not None:
        row["policy"] = plain_text(record.policy)
    if record.policy_version is not None:
        row["policy_version"] = plain_text(record.policy_version)
    if record.rule is not None:
        row["rule"] = plain_text(record.rule)
    if record.shadow_of is not None:
        row["shadow_of"] = plain_text(record.shadow_of)
    if record.experiments:
        row["experiments"] = dump_json(record.experiments)
    return row


def assignment_rows(record: DecisionRecord) -> list[dict[str, Any]]:
    """A row for each experiment that a call was part of."""
    return [
        {
            "experiment": plain_text(experiment),
            "call_id": plain_text(record.call_id),
            "arm": plain_text(arm),
            "unit_hash": plain_text(record.units.get(experiment)),
            "at": record.at,
        }
        for experiment, arm in record.experiments.items()
    ]


def feedback_row(feedback: Feedback) -> dict[str, Any]:
    """The row of a feedback."""
    score = feedback.score
    return {
        "id": plain_text(feedback.id),
        "call_id": plain_text(feedback.call_id),
        "at": feedback.at,
        "name": plain_text(feedback.name),
        "score": score if score is not None and math.isfinite(score) else None,
        "comment": plain_text(feedback.comment),
        "source": plain_text(feedback.source),
    }


def _serving_columns(record: DecisionRecord) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for attempt, outcome in record.attempts:
        if outcome.status != "skipped" and "first_deployment" not in columns:
            columns["first_deployment"] = plain_text(attempt.deployment.id)
        if outcome.failure is not None:
            columns["error_class"] = outcome.failure.error_class.value
    if record.served_by is not None:
        attempt, outcome = record.attempts[-1]
        columns["served_by"] = plain_text(record.served_by)
        columns["served_provider"] = plain_text(attempt.deployment.provider)
        columns["served_model"] = plain_text(outcome.model or attempt.deployment.model)
        columns["served_alias"] = plain_text(attempt.alias)
    return columns


_latest: tuple[Context, dict[str, Any]] = (NOBODY, {})
"""Who called last, and the columns that say so."""


def _context_columns(context: Context) -> dict[str, Any]:
    global _latest
    known, columns = _latest
    if known is not context:
        columns = {
            column: plain_text(value)
            for name, column in CONTEXT_COLUMNS.items()
            if (value := getattr(context, name)) is not None
        }
        _latest = (context, columns)
    return columns
