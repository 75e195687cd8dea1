"""What a row of the ledger holds, as plain values; the same in every ledger."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, OpenIntent, Settlement
from llmgate_plugins.types import BUCKETS, EMPTY, Price, Usage

__all__ = [
    "ATTEMPT_JSON",
    "CALL_JSON",
    "CONTEXT_COLUMNS",
    "ENDS",
    "TOKEN_COLUMNS",
    "attempt_row",
    "call_row",
    "check_columns",
    "dump_json",
    "labels_of",
    "not_an_end",
    "open_intent",
    "plain_text",
    "settled_columns",
    "unknown_columns",
]

CONTEXT_COLUMNS: Mapping[str, str] = {
    "tenant": "tenant",
    "team": "team",
    "project": "project",
    "user": "user_id",  # `user` is a reserved word of SQL, and names the database's own user
    "feature": "feature",
    "cohort": "cohort",
    "environment": "environment",
    "key": "key_id",
    "region": "required_region",  # `region` is where the deployment runs
    "data_class": "data_class",
    "policy": "policy",
}
"""Field of `Context` -> column, in both tables."""

ENDS = frozenset({"success", "error", "cancelled", "abandoned", "skipped"})
"""The statuses of a settlement."""

TOKEN_COLUMNS = tuple(f"{bucket}_tokens" for bucket in BUCKETS)

ATTEMPT_JSON = ("tags", "extra")
CALL_JSON = ("tags", "extra", "problems", "decision")

_COMPARED = (
    *CONTEXT_COLUMNS.values(),
    *("requested_model", "alias", "deployment", "provider", "model", "region", "credential", "operation"),
)
"""Columns of attempts that say who or what it was, as text."""

_TAG = "tag:"
_EXTRA = "extra:"


def labels_of(context: Context, tags: Mapping[str, str] = EMPTY) -> Mapping[str, str]:
    """The labels of an `AttemptIntent`: who is calling, and the caller's tags.

    Trusted facts stand under the names of `Context`, further facts under "extra:NAME",
    tags under "tag:NAME". So no tag can pass for a fact, whatever its name.
    """
    if context is NOBODY and not tags:
        return EMPTY
    labels = {name: value for name in CONTEXT_COLUMNS if (value := getattr(context, name)) is not None}
    for name, value in context.extra.items():
        labels[_EXTRA + name] = value
    for name, value in tags.items():
        labels[_TAG + name] = value
    return labels


def attempt_row(intent: AttemptIntent) -> dict[str, Any]:
    """The row of an attempt that has just been opened."""
    deployment = intent.deployment
    labels = intent.labels
    call = intent.call
    call_id = plain_text(intent.call_id)
    row: dict[str, Any] = {
        "call_id": call_id,
        "number": intent.number,
        "at": intent.at,
        "settled_at": None,
        "requested_model": plain_text(call.model) if call else None,
        "alias": plain_text(intent.alias),
        "deployment": plain_text(deployment.id),
        "provider": plain_text(deployment.provider),
        "model": plain_text(deployment.model),
        "served_model": None,
        "region": plain_text(deployment.region),
        "credential": plain_text(deployment.credential),
        "operation": plain_text(call.operation) if call else None,
        "stream": call.stream if call else None,
        "reason": plain_text(intent.reason),
        "decision_id": f"{call_id}.{intent.selection}" if intent.selection else None,
        "trace_id": plain_text(call.trace_id) if call else None,
        "status": "intent",
        "late": False,
        "error_class": None,
        "scope": None,
        "code": None,
        "http_status": None,
        "finish_reason": None,
        "service_tier": None,
    }
    row |= _usage_columns(Usage())
    row |= {
        "estimate_nano_usd": intent.estimate,
        "reserve_nano_usd": intent.reserve,
        "reserve_tokens": intent.reserve_tokens,
        "expires": intent.expires,
        "cost_nano_usd": 0,
        **_price_columns(deployment.price),
        "latency_s": None,
        "first_token_s": None,
    }
    for name, column in CONTEXT_COLUMNS.items():
        row[column] = plain_text(labels.get(name))
    if call is not None and call.policy is not None:
        row["policy"] = plain_text(call.policy)
    row["policy_version"] = plain_text(call.policy_version) if call else None
    row["priority"] = call.context.priority if call else None
    row["tags"] = {name[len(_TAG) :]: value for name, value in labels.items() if name.startswith(_TAG)}
    row["extra"] = {name[len(_EXTRA) :]: value for name, value in labels.items() if name.startswith(_EXTRA)}
    return row


def check_columns(where: Mapping[str, str | None]) -> None:
    """Raises `ValueError` for what is no column of an attempt's row that can be compared."""
    for column in where:
        if column not in _COMPARED:
            raise ValueError(
                f"attempts cannot be told apart by {column!r}; there are: {', '.join(_COMPARED)}"
            )


def open_intent(row: Mapping[Any, Any]) -> OpenIntent:
    """An attempt under way, from its row."""
    return OpenIntent(
        call_id=row["call_id"],
        number=row["number"],
        at=row["at"],
        estimate=row["estimate_nano_usd"],
        reserve=row["reserve_nano_usd"],
        reserve_tokens=row["reserve_tokens"],
        expires=row["expires"],
    )


def not_an_end(settlement: Settlement) -> str:
    """The message for a settlement whose status is none of `ENDS`."""
    return f"an attempt cannot be settled as {settlement.status!r}, only as {', '.join(sorted(ENDS))}"


def settled_columns(settlement: Settlement) -> dict[str, Any]:
    """What a settlement changes in the row of its attempt."""
    return {
        "settled_at": settlement.at,
        "served_model": plain_text(settlement.model),
        "status": settlement.status,
        "error_class": plain_text(settlement.error_class),
        "scope": plain_text(settlement.scope),
        "code": plain_text(settlement.code),
        "http_status": settlement.http_status,
        "finish_reason": plain_text(settlement.finish_reason),
        "service_tier": plain_text(settlement.usage.tier) or None,
        **_usage_columns(settlement.usage),
        "cost_nano_usd": settlement.cost,
        **_price_columns(settlement.price),
        "latency_s": settlement.latency,
        "first_token_s": settlement.first_token,
    }


def unknown_columns(intent: AttemptIntent, at: float) -> dict[str, Any]:
    """What recovery changes in the row of an attempt that nobody settled."""
    return {"settled_at": at, "status": "unknown", "cost_nano_usd": intent.estimate, "estimated": True}


def call_row(record: DecisionRecord) -> dict[str, Any]:
    """The row of a call that is over."""
    context = record.context
    row: dict[str, Any] = {
        "call_id": plain_text(record.call_id),
        "at": record.at,
        "model": plain_text(record.model),
        "operation": record.operation,
        "stream": record.stream,
        "status": record.status,
        "served_by": plain_text(record.served_by),
        **_serving_columns(record),
        "attempts": sum(outcome.status != "skipped" for _, outcome in record.attempts),
    }
    row |= _usage_columns(record.usage)
    row |= {
        "cost_nano_usd": record.cost,
        "latency_s": record.latency,
        "first_token_s": record.first_token,
        "denied_by": plain_text(record.denied_by),
        "reason": plain_text(record.reason),
        "error": plain_text(record.error),
        "error_class": next(
            (out.failure.error_class.value for _, out in reversed(record.attempts) if out.failure), None
        ),
        "trace_id": plain_text(record.trace_id),
    }
    for name, column in CONTEXT_COLUMNS.items():
        row[column] = plain_text(getattr(context, name))
    if record.policy is not None:
        row["policy"] = plain_text(record.policy)
    row["policy_version"] = plain_text(record.policy_version)
    decision = record.to_dict()
    row["priority"] = context.priority
    row["tags"] = decision["tags"]
    row["extra"] = dict(context.extra)
    row["problems"] = decision["problems"]
    row["decision"] = decision
    return row


def _serving_columns(record: DecisionRecord) -> dict[str, Any]:
    sent = [attempt for attempt, outcome in record.attempts if outcome.status != "skipped"]
    served: dict[str, Any] = dict.fromkeys(("served_provider", "served_model", "served_alias"))
    if record.served_by is not None:
        attempt, outcome = record.attempts[-1]
        served = {
            "served_provider": plain_text(attempt.deployment.provider),
            "served_model": plain_text(outcome.model or attempt.deployment.model),
            "served_alias": plain_text(attempt.alias),
        }
    return {**served, "first_deployment": plain_text(sent[0].deployment.id) if sent else None}


def _usage_columns(usage: Usage) -> dict[str, Any]:
    columns: dict[str, Any] = {f"{bucket}_tokens": getattr(usage, bucket) for bucket in BUCKETS}
    columns["estimated"] = usage.estimated
    return columns


def _price_columns(price: Price | None) -> dict[str, Any]:
    """Where the price is from that the cost was, or will be, counted at."""
    if price is None:
        return {"price_source": None, "price_as_of": None}
    return {"price_source": plain_text(price.source), "price_as_of": plain_text(price.as_of)}


def plain_text(text: Any) -> Any:
    """Text that every database takes: no half surrogates and no NUL; None stays None."""
    if text is None:
        return None
    if type(text) is not str:
        text = str(text)
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def dump_json(value: Any) -> str:
    """JSON that every reader takes: without NaN and infinities (null), keys are text."""
    if value == {} or value == []:
        return str(value)
    try:
        text = _encode(value)
    except (TypeError, ValueError):
        return _encode(_json_value(value))
    if "\\u0000" in text or "\\ud" in text:  # what is in there may not be text to every database
        return _encode(_json_value(value))
    return text


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _json_value(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain_text(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in value]
    return str(value)
