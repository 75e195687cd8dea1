"""What an attempt's row holds, as plain values; the same in every ledger.

Columns are told as a statement takes them: text, numbers, JSON as text. Those of which there is
nothing to say are left out, which is what makes writing cheap: of sixty columns most rows
fill twenty, and a driver takes as long for a NULL as for a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.ledger.plain import dump_json, plain_text
from llmgate_plugins.services import AttemptIntent, OpenIntent, Settlement
from llmgate_plugins.types import BUCKETS, EMPTY, Deployment, Price, Usage

__all__ = [
    "ATTEMPT_JSON",
    "CONTEXT_COLUMNS",
    "ENDS",
    "TOKEN_COLUMNS",
    "attempt_row",
    "check_columns",
    "compared_value",
    "labels_of",
    "not_an_end",
    "open_intent",
    "opened_columns",
    "settled_columns",
    "unknown_columns",
    "usage_columns",
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

_COMPARED = (
    *CONTEXT_COLUMNS.values(),
    *("requested_model", "alias", "deployment", "provider", "model", "region", "credential", "operation"),
)
"""Columns of attempts that say who or what it was, as text."""

TAG = "tag:"
EXTRA = "extra:"


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
    **dict.fromkeys(("policy_version", "priority", "shadow_of", "tags", "extra")),
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
        labels[EXTRA + name] = value
    for name, value in tags.items():
        labels[TAG + name] = value
    return labels


def attempt_row(intent: AttemptIntent) -> dict[str, Any]:
    """The row of an attempt that has just been opened, all of its columns in the order of the table."""
    return _BLANK | opened_columns(intent)


def opened_columns(intent: AttemptIntent) -> dict[str, Any]:
    """What such a row has besides its status."""
    call = intent.call
    call_id = plain_text(intent.call_id)
    row: dict[str, Any] = {
        "call_id": call_id,
        "number": intent.number,
        "at": intent.at,
        "alias": plain_text(intent.alias),
        "reason": plain_text(intent.reason),
        **_deployment_columns(intent.deployment),
        **_label_columns(intent.labels),
    }
    if intent.estimate:
        row["estimate_nano_usd"] = intent.estimate
    if intent.reserve:
        row["reserve_nano_usd"] = intent.reserve
    if intent.reserve_tokens:
        row["reserve_tokens"] = intent.reserve_tokens
    if intent.expires is not None:
        row["expires"] = intent.expires
    if intent.selection:
        row["decision_id"] = f"{call_id}.{intent.selection}"
    if call is not None:
        row["requested_model"] = plain_text(call.model)
        row["operation"] = plain_text(call.operation)
        row["stream"] = call.stream
        row["priority"] = call.context.priority
        if call.trace_id is not None:
            row["trace_id"] = plain_text(call.trace_id)
        if call.policy is not None:
            row["policy"] = plain_text(call.policy)
        if call.policy_version is not None:
            row["policy_version"] = plain_text(call.policy_version)
        if call.shadow_of is not None:
            row["shadow_of"] = plain_text(call.shadow_of)
    return row


_deployments: dict[int, tuple[Deployment, dict[str, Any]]] = {}
"""By its id in memory: a deployment, and its columns. It is kept, so that the id stays its own."""


def _deployment_columns(deployment: Deployment) -> dict[str, Any]:
    known = _deployments.get(id(deployment))
    if known is not None:
        return known[1]
    columns = _known(
        {
            "deployment": deployment.id,
            "provider": deployment.provider,
            "model": deployment.model,
            "region": deployment.region,
            "credential": deployment.credential,
            **_price_columns(deployment.price),
        }
    )
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
    columns, tags, extra = {}, {}, {}
    for name, value in labels.items():
        column = CONTEXT_COLUMNS.get(name)
        if column is not None:
            columns[column] = plain_text(value)
        elif name.startswith(TAG):
            tags[name[len(TAG) :]] = value
        elif name.startswith(EXTRA):
            extra[name[len(EXTRA) :]] = value
    columns["tags"], columns["extra"] = dump_json(tags), dump_json(extra)
    _latest = (labels, columns)
    return columns


def check_columns(where: Mapping[str, str | None]) -> None:
    """Raises `ValueError` for what is nothing of an attempt's row that can be compared."""
    for name in where:
        if name not in _COMPARED and (not name.startswith((TAG, EXTRA)) or name in (TAG, EXTRA)):
            known = ", ".join((*_COMPARED, f"{TAG}NAME", f"{EXTRA}NAME"))
            raise ValueError(f"attempts cannot be told apart by {name!r}; there are: {known}")


def compared_value(row: Mapping[str, Any], name: str) -> Any:
    """What of an attempt's row is called so: a column, "tag:NAME" or "extra:NAME"."""
    for prefix, column in ((TAG, "tags"), (EXTRA, "extra")):
        if name.startswith(prefix):
            return row[column].get(name.removeprefix(prefix))
    return row[name]


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
    """What a settlement changes in the row of its attempt, recovered or not."""
    usage, price = settlement.usage, settlement.price
    row: dict[str, Any] = {
        "settled_at": settlement.at,
        "status": settlement.status,
        "cost_nano_usd": settlement.cost,
        "latency_s": settlement.latency,
        **usage_columns(usage),
        **(_NO_PRICE if price is None else _price_columns(price)),
    }
    if settlement.first_token is not None:
        row["first_token_s"] = settlement.first_token
    if settlement.finish_reason is not None:
        row["finish_reason"] = plain_text(settlement.finish_reason)
    if settlement.model is not None:
        row["served_model"] = plain_text(settlement.model)
    if usage.tier:
        row["service_tier"] = plain_text(usage.tier)
    if settlement.error_class is not None:
        row["error_class"] = plain_text(settlement.error_class)
    if settlement.scope is not None:
        row["scope"] = plain_text(settlement.scope)
    if settlement.code is not None:
        row["code"] = plain_text(settlement.code)
    if settlement.http_status is not None:
        row["http_status"] = settlement.http_status
    return row


def unknown_columns(intent: AttemptIntent, at: float) -> dict[str, Any]:
    """What recovery changes in the row of an attempt that nobody settled."""
    return {"settled_at": at, "status": "unknown", "cost_nano_usd": intent.estimate, "estimated": True}


def usage_columns(usage: Usage) -> dict[str, Any]:
    """How many tokens of each kind there were, and whether we counted them."""
    columns: dict[str, Any] = {
        column: tokens for column, tokens in zip(TOKEN_COLUMNS, _buckets(usage), strict=True) if tokens
    }
    columns["estimated"] = usage.estimated
    return columns


_NO_PRICE: Mapping[str, Any] = {"price_source": None, "price_as_of": None}
"""Told, since an intent has the price that its cost would have been counted at."""


def _price_columns(price: Price | None) -> dict[str, Any]:
    """Where the price is from that the cost was, or will be, counted at."""
    if price is None:
        return {}
    return {"price_source": plain_text(price.source), "price_as_of": plain_text(price.as_of)}


def _known(columns: Mapping[str, str | None]) -> dict[str, Any]:
    return {column: plain_text(value) for column, value in columns.items() if value is not None}
