"""What a row of the ledger holds, as plain values; the same in every ledger."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.ledger.plain import plain_text
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, OpenIntent, Settlement
from llmgate_plugins.types import BUCKETS, EMPTY, Deployment, Price, Usage

__all__ = [
    "ATTEMPT_JSON",
    "CALL_JSON",
    "CONTENT_JSON",
    "CONTEXT_COLUMNS",
    "ENDS",
    "TOKEN_COLUMNS",
    "attempt_row",
    "call_row",
    "check_columns",
    "labels_of",
    "not_an_end",
    "open_intent",
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

_buckets = attrgetter(*BUCKETS)

ATTEMPT_JSON = ("tags", "extra")
CALL_JSON = ("tags", "extra", "problems", "decision")
CONTENT_JSON = ("messages", "answer")

_COMPARED = (
    *CONTEXT_COLUMNS.values(),
    *("requested_model", "alias", "deployment", "provider", "model", "region", "credential", "operation"),
)
"""Columns of attempts that say who or what it was, as text."""

_TAG = "tag:"
_EXTRA = "extra:"


_BLANK: dict[str, Any] = {
    **dict.fromkeys(
        (
            "call_id",
            "number",
            "at",
            "settled_at",
            "requested_model",
            "alias",
            "deployment",
            "provider",
            "model",
            "served_model",
            "region",
            "credential",
            "operation",
            "stream",
            "reason",
            "decision_id",
            "trace_id",
        )
    ),
    "status": "intent",
    "late": False,
    **dict.fromkeys(("error_class", "scope", "code", "http_status", "finish_reason", "service_tier")),
    **dict.fromkeys(TOKEN_COLUMNS, 0),
    "estimated": False,
    "estimate_nano_usd": 0,
    "reserve_nano_usd": 0,
    "reserve_tokens": 0,
    "expires": None,
    "cost_nano_usd": 0,
    **dict.fromkeys(("price_source", "price_as_of", "latency_s", "first_token_s")),
    **dict.fromkeys(CONTEXT_COLUMNS.values()),
    **dict.fromkeys(("policy_version", "priority", "tags", "extra")),
}
"""The row of an attempt of which nothing is known, columns in the order of the table."""


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
    call = intent.call
    call_id = plain_text(intent.call_id)
    row = _BLANK.copy()
    row |= _deployment_columns(intent.deployment)
    row |= _label_columns(intent.labels)
    row["call_id"] = call_id
    row["number"] = intent.number
    row["at"] = intent.at
    row["alias"] = plain_text(intent.alias)
    row["reason"] = plain_text(intent.reason)
    row["estimate_nano_usd"] = intent.estimate
    row["reserve_nano_usd"] = intent.reserve
    row["reserve_tokens"] = intent.reserve_tokens
    row["expires"] = intent.expires
    if intent.selection:
        row["decision_id"] = f"{call_id}.{intent.selection}"
    if call is not None:
        row["requested_model"] = plain_text(call.model)
        row["operation"] = plain_text(call.operation)
        row["stream"] = call.stream
        row["trace_id"] = plain_text(call.trace_id)
        if call.policy is not None:
            row["policy"] = plain_text(call.policy)
        row["policy_version"] = plain_text(call.policy_version)
        row["priority"] = call.context.priority
    return row


_deployments: dict[int, tuple[Deployment, dict[str, Any]]] = {}
"""By its id in memory: a deployment, and its columns. It is kept, so that the id stays its own."""


def _deployment_columns(deployment: Deployment) -> dict[str, Any]:
    known = _deployments.get(id(deployment))
    if known is not None:
        return known[1]
    columns = {
        "deployment": plain_text(deployment.id),
        "provider": plain_text(deployment.provider),
        "model": plain_text(deployment.model),
        "region": plain_text(deployment.region),
        "credential": plain_text(deployment.credential),
        **_price_columns(deployment.price),
    }
    if len(_deployments) >= 1024:
        _deployments.clear()
    _deployments[id(deployment)] = (deployment, columns)
    return columns


_latest: tuple[Mapping[str, str], dict[str, Any]] = (EMPTY, {})
"""The labels that were asked for last, and their columns: most calls in a row have the same."""


def _label_columns(labels: Mapping[str, str]) -> dict[str, Any]:
    global _latest
    known, columns = _latest
    if known is labels and columns:
        return columns
    columns = {column: plain_text(labels.get(name)) for name, column in CONTEXT_COLUMNS.items()}
    columns["tags"] = {name[len(_TAG) :]: value for name, value in labels.items() if name.startswith(_TAG)}
    columns["extra"] = {
        name[len(_EXTRA) :]: value for name, value in labels.items() if name.startswith(_EXTRA)
    }
    _latest = (labels, columns)
    return columns


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
    columns: dict[str, Any] = dict(zip(TOKEN_COLUMNS, _buckets(usage), strict=True))
    columns["estimated"] = usage.estimated
    return columns


def _price_columns(price: Price | None) -> dict[str, Any]:
    """Where the price is from that the cost was, or will be, counted at."""
    if price is None:
        return {"price_source": None, "price_as_of": None}
    return {"price_source": plain_text(price.source), "price_as_of": plain_text(price.as_of)}
