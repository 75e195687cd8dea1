"""Rows of the books in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from llmgate_plugins.types import BUCKETS, Price, Usage
from llmgate_plugins.windows import Calendar

__all__ = ["FOCUS_COLUMNS", "FOCUS_VERSION", "PriceOf", "focus_rows"]

FOCUS_VERSION: Final = "1.2"

PriceOf: TypeAlias = Callable[[str, str], Price | None]
"""(provider, model) -> its list price, or None."""

_MONTH: Final = Calendar("month")
_FINEST: Final = Decimal(1).scaleb(-15)
_OWN: Final = (
    *("call_id", "number", "deployment", "alias", "reason", "status", "error_class", "team", "project"),
    *("user_id", "feature", "cohort", "environment", "policy", "policy_version", "decision_id", "trace_id"),
    *("shadow_of", "price_source", "price_as_of", "estimated", "latency_s", "first_token_s"),
)
"""Columns of the books that FOCUS has no name for; they become x_CallId and so on."""


def _own_name(column: str) -> str:
    return "x_" + "".join(part.capitalize() for part in column.split("_"))


_OWN_NAMES: Final = tuple((_own_name(column), column) for column in _OWN)

FOCUS_COLUMNS: Final = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice"),
    *("PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId"),
    *("RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName"),
    *("ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "Tags"),
    *("x_CostNanoUsd", "x_CostSplit", "x_UnitPriceFrom"),
    *(name for name, _ in _OWN_NAMES),
)
"""In the order of the specification, our own at the end."""


def focus_rows(attempts: Iterable[Mapping[str, Any]], price_of: PriceOf) -> Iterator[dict[str, Any]]:
    """One row for each attempt and bucket of tokens: each has one unit, and an attempt's rows add up
    to its cost, to the nano-dollar.

    The books keep what an attempt cost as a whole. It is split by what each bucket's tokens
    cost at the list price (`x_CostSplit` "price"), where no price is known by their numbers
    ("tokens"). A unit price is the list price, or what was billed for each token where no list
    price explains the cost (`x_UnitPriceFrom` "list" or "billed"). What was billed without
    tokens, such as an attempt whose process died, is one row with the unit "Requests". What
    was never sent, or is still under way, is left out.
    """
    for row in attempts:
        if row["status"] not in ("skipped", "intent"):
            yield from _of_attempt(row, price_of(row["provider"], row["served_model"] or row["model"]))


def _of_attempt(row: Mapping[str, Any], price: Price | None) -> Iterator[dict[str, Any]]:
    cost: int = row["cost_nano_usd"]
    tokens = {bucket: row[f"{bucket}_tokens"] for bucket in BUCKETS if row[f"{bucket}_tokens"]}
    common = _common(row)
    if not tokens:
        if cost:
            yield common | _charge(row, "request", "Requests", 1, cost, None, "whole")
        return
    if price is not None:
        price = price.at(Usage(**tokens).total_input, row["service_tier"] or "")
    exact = price is not None and price.cost(Usage(**tokens)) == cost
    rates = [getattr(price, bucket) if price is not None else 0 for bucket in tokens]
    weights = [number * rate for number, rate in zip(tokens.values(), rates, strict=True)]
    split = "price" if any(weights) else "tokens"
    parts = _split(cost, weights if any(weights) else list(tokens.values()))
    for (bucket, number), rate, part in zip(tokens.items(), rates, parts, strict=True):
        unit_price = Decimal(rate).scaleb(-15) if exact else None
        yield common | _charge(row, bucket, "Tokens", number, part, unit_price, split)


def _split(cost: int, weights: Sequence[int]) -> list[int]:
    """The cost by these weights, in whole parts that add up to it; what is over goes to the largest rests."""
    whole = sum(weights)
    parts = [cost * weight // whole for weight in weights]
    rests = sorted(range(len(weights)), key=lambda place: (-(cost * weights[place] % whole), place))
    for place in rests[: cost - sum(parts)]:
        parts[place] += 1
    return parts


def _charge(
    row: Mapping[str, Any],
    meter: str,
    unit: str,
    number: int,
    cost: int,
    unit_price: Decimal | None,
    split: str,
) -> dict[str, Any]:
    usd = Decimal(cost).scaleb(-9)
    # What FOCUS wants: never empty, and times the quantity just the list cost.
    each = (usd / number).quantize(_FINEST) if unit_price is None else unit_price
    listed = each * number
    model = row["served_model"] or row["model"]
    sku = f"{row['provider']}/{model}/{meter}"
    tier = f"/{row['service_tier']}" if row["service_tier"] else ""
    return {
        **dict.fromkeys(("BilledCost", "EffectiveCost"), usd),
        **dict.fromkeys(("ListCost", "ContractedCost"), listed),
        "ChargeDescription": f"{model}, {meter.replace('_', ' ')}",
        "ConsumedQuantity": number,
        "ConsumedUnit": unit,
        **dict.fromkeys(("ListUnitPrice", "ContractedUnitPrice"), each),
        "PricingQuantity": number,
        "PricingUnit": unit,
        "SkuId": sku,
        "SkuMeter": meter,
        "SkuPriceId": f"{sku}{tier}",  # the same whatever the price is by then
        "x_CostNanoUsd": cost,
        "x_CostSplit": split,
        "x_UnitPriceFrom": "billed" if unit_price is None else "list",
    }


def _common(row: Mapping[str, Any]) -> dict[str, Any]:
    """What all rows of an attempt have alike."""
    begins, ends = _MONTH.bounds(row["at"])
    after = row["settled_at"] if row["settled_at"] is not None else row["at"] + (row["latency_s"] or 0.0)
    tags = {**{f"extra/{name}": value for name, value in row["extra"].items()}, **row["tags"]}
    return {
        **dict.fromkeys(FOCUS_COLUMNS),
        "BillingAccountId": row["credential"] or row["provider"],
        "BillingCurrency": "USD",
        "BillingPeriodStart": _moment(begins),
        "BillingPeriodEnd": _moment(ends),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(row["at"]),
        "ChargePeriodEnd": _moment(max(after, row["at"]), up=True),
        "InvoiceIssuerName": row["provider"],
        "PricingCategory": "Standard",
        "ProviderName": row["provider"],
        "PublisherName": row["provider"],
        "RegionId": row["region"],
        "RegionName": row["region"],
        "ResourceId": row["deployment"],
        "ResourceName": row["deployment"],
        "ResourceType": "Model deployment",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": row["model"],
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": row["tenant"],
        "SubAccountName": row["tenant"],
        "Tags": json.dumps(tags, ensure_ascii=False, sort_keys=True),
        **{name: row[column] for name, column in _OWN_NAMES},
    }


def _moment(at: float, *, up: bool = False) -> str:
    """As FOCUS writes it: UTC, in whole seconds. An end is exclusive, and so a second later."""
    return datetime.fromtimestamp(int(at) + up, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
