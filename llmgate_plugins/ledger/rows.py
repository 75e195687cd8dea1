"""What an attempt's row holds, as plain values; the same in every ledger.

Columns are told as a statement takes them: text, numbers, JSON as text. Those of which there is
nothing to say are left out, which is what makes writing cheap: of sixty columns most rows
fill twenty, and a driver takes as long for a NULL as for a name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS, Facts
from llmgate_plugins.ledger.naming import EXTRA, TAG
from llmgate_plugins.ledger.plain import dump_json, plain_text, plain_texts
from llmgate_plugins.services import AttemptIntent, OpenIntent, Settlement
from llmgate_plugins.types import BUCKETS, EMPTY

__all__ = [
    "ATTEMPT_JSON",
    "ENDS",
    "TOKEN_COLUMNS",
    "attempt_row",
    "not_an_end",
    "open_intent",
    "opened_columns",
    "settled_columns",
    "unknown_columns",
    "usage_columns",
]

ENDS = frozenset({"success", "error", "cancelled", "abandoned", "skipped"})
"""The statuses of a settlement."""

TOKEN_COLUMNS = tuple(f"{bucket}_tokens" for bucket in BUCKETS)

ATTEMPT_JSON = ("tags", "extra")

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


def attempt_row(facts: Facts) -> dict[str, Any]:
    """The row of an attempt that has just been opened, all of its columns in the order of the table."""
    return _BLANK | opened_columns(*facts[1:])


def opened_columns(
    intent: Sequence[Any],
    labels: Mapping[str, str] | None,
    deployment: Sequence[Any],
    call: Sequence[Any] | None,
    *_: Any,
) -> dict[str, Any]:
    """What such a row has besides its status, from `intent_facts` but for their kind."""
    call_id, number, at, alias, reason, estimate, reserve, reserve_tokens, expires, selection = intent[:10]
    row: dict[str, Any] = {
        "call_id": plain_text(call_id),
        "number": number,
        "at": at,
        "alias": plain_text(alias),
        "reason": plain_text(reason),
        **_deployment_columns(*deployment),
        **_label_columns(labels or EMPTY),
    }
    if estimate:
        row["estimate_nano_usd"] = estimate
    if reserve:
        row["reserve_nano_usd"] = reserve
    if reserve_tokens:
        row["reserve_tokens"] = reserve_tokens
    if expires is not None and math.isfinite(expires):  # as it comes out of a file
        row["expires"] = expires
    if selection:
        row["decision_id"] = f"{row['call_id']}.{selection}"
    if call is not None:
        model, operation, stream, priority, trace_id, policy, policy_version, shadow_of = call[:8]
        row["requested_model"] = plain_text(model)
        row["operation"] = plain_text(operation)
        row["stream"] = stream
        row["priority"] = priority
        row |= plain_texts(
            {
                "trace_id": trace_id,
                "policy": policy,
                "policy_version": policy_version,
                "shadow_of": shadow_of,
            }
        )
    return row


def _deployment_columns(
    id: str,
    provider: str,
    model: str,
    region: str | None,
    credential: str | None,
    price: Sequence[str] | None,
    *_: Any,
) -> dict[str, Any]:
    columns = plain_texts(
        {"deployment": id, "provider": provider, "model": model, "region": region, "credential": credential}
    )
    if price is not None:
        columns |= _price_columns(price)
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


def settled_columns(
    end: Sequence[Any], usage: Sequence[Any], price: Sequence[str] | None, *_: Any
) -> dict[str, Any]:
    """What a settlement changes in the row of its attempt, recovered or not, from `settlement_facts`
    but for their kind and which attempt it is."""
    status, at, cost, latency, first_token, finish_reason, model, error_class, scope, code = end[:10]
    http_status = end[10]
    row: dict[str, Any] = {
        "settled_at": at,
        "status": status,
        "cost_nano_usd": cost,
        "latency_s": latency,
        **usage_columns(usage),
        **(_NO_PRICE if price is None else _price_columns(price)),
    }
    if first_token is not None:
        row["first_token_s"] = first_token
    row |= plain_texts(
        {
            "finish_reason": finish_reason,
            "served_model": model,
            "service_tier": usage[1] or None,
            "error_class": error_class,
            "scope": scope,
            "code": code,
        }
    )
    if http_status is not None:
        row["http_status"] = http_status
    return row


def unknown_columns(intent: AttemptIntent, at: float) -> dict[str, Any]:
    """What recovery changes in the row of an attempt that nobody settled."""
    return {"settled_at": at, "status": "unknown", "cost_nano_usd": intent.estimate, "estimated": True}


def usage_columns(usage: Sequence[Any]) -> dict[str, Any]:
    """How many tokens of each kind there were, and whether we counted them."""
    estimated, _, *buckets = usage
    columns: dict[str, Any] = {
        column: tokens for column, tokens in zip(TOKEN_COLUMNS, buckets, strict=False) if tokens
    }
    columns["estimated"] = estimated
    return columns


_NO_PRICE: Mapping[str, Any] = {"price_source": None, "price_as_of": None}
"""Told, since an intent has the price that its cost would have been counted at."""


def _price_columns(price: Sequence[str]) -> dict[str, Any]:
    """Where the price is from that the cost was, or will be, counted at."""
    source, as_of = price
    return {"price_source": plain_text(source), "price_as_of": plain_text(as_of)}
