"""What a call's row holds, and rows about calls: as plain values, told as an attempt's are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS, call_facts
from llmgate_plugins.ledger.plain import dump_json, plain_text, plain_texts
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS, usage_columns
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback
from llmgate_plugins.types import EMPTY

__all__ = ["CALL_JSON", "assignment_rows", "call_row", "closed_columns", "decision_columns", "feedback_row"]

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
    return _BLANK | closed_columns(*call_facts(record)[1:]) | decision_columns(record)


def decision_columns(record: DecisionRecord) -> dict[str, Any]:
    """What there is to say in it of what was decided, and why."""
    decision = record.told()
    decision.pop("shape", None)  # it has a column of its own
    columns = {"problems": dump_json(decision.get("problems") or []), "decision": dump_json(decision)}
    if record.shape:
        columns["shape"] = dump_json(record.shape)
    return columns


def closed_columns(
    call: Sequence[Any],
    tags: Mapping[str, str] | None,
    experiments: Mapping[str, str] | None,
    who: Sequence[Any],
    attempts: Sequence[Sequence[Any]],
    *_: Any,
) -> dict[str, Any]:
    """What there is to say in it besides, from `call_facts` but for their kind."""
    call_id, at, model, operation, stream, status, latency, first_token, denied_by, reason = call[:10]
    error, trace_id, policy, policy_version, rule, shadow_of = call[10:16]
    context, priority, extra = who[:3]
    row: dict[str, Any] = {
        "call_id": plain_text(call_id),
        "at": at,
        "model": plain_text(model),
        "operation": operation,
        "stream": stream,
        "status": status,
        "latency_s": latency,
        "reason": plain_text(reason),
        **plain_texts(context or EMPTY),
        "priority": priority,
        "tags": dump_json(tags or {}),
        "extra": dump_json(extra or {}),
        "problems": "[]",
        "decision": "{}",
        **_attempt_columns(attempts),
    }
    if first_token is not None:
        row["first_token_s"] = first_token
    row |= plain_texts(
        {
            "denied_by": denied_by,
            "error": error,
            "trace_id": trace_id,
            "policy": policy,
            "policy_version": policy_version,
            "rule": rule,
            "shadow_of": shadow_of,
        }
    )
    if experiments:
        row["experiments"] = dump_json(experiments)
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


def _attempt_columns(attempts: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """What all of them used together, what went wrong, and which of them served."""
    columns = _used([usage for _, _, usage, *_ in attempts])
    asked = [sent for sent, (status, *_), *_ in attempts if status != "skipped"]
    columns["attempts"] = len(asked)
    if asked:
        columns["first_deployment"] = plain_text(asked[0][0])
    for _, _, _, went_wrong, *_ in attempts:
        if went_wrong is not None:
            columns["error_class"] = plain_text(went_wrong)
    if cost := sum([came[2] for _, came, *_ in attempts]):
        columns["cost_nano_usd"] = cost
    if attempts and attempts[-1][1][0] == "success":
        (deployment, provider, model, alias, *_), (_, served_model, *_), *_ = attempts[-1]
        columns["served_by"] = plain_text(deployment)
        columns["served_provider"] = plain_text(provider)
        columns["served_model"] = plain_text(served_model or model)
        columns["served_alias"] = plain_text(alias)
    return columns


def _used(usages: Sequence[Sequence[Any]]) -> dict[str, Any]:
    if len(usages) == 1:
        return usage_columns(usages[0])
    sums = map(sum, zip(*(buckets for _, _, *buckets in usages), strict=True))
    return usage_columns((any(estimated for estimated, *_ in usages), "", *sums))
