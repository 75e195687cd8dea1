"""Attempts and usage as plain values, as a record tells them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from llmgate_plugins.limits import Quota
from llmgate_plugins.money import cost_per_1k
from llmgate_plugins.types import Attempt, Deployment, ErrorClass, Failure, Outcome, Price, Scope, Usage

__all__ = ["attempt_of", "tell_attempt", "tell_usage", "whole_attempt", "whole_usage"]

_USAGE: Final = tuple(name for name in Usage.__dataclass_fields__ if name != "iterations")
_usage_values: Final = attrgetter(*_USAGE)


def tell_usage(usage: Usage) -> dict[str, Any]:
    """What was used, and the total."""
    told = {name: value for name, value in zip(_USAGE, _usage_values(usage), strict=True) if value}
    if total := usage.total:
        told["total"] = total
    return told


def whole_usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what is zero."""
    return {**dict(zip(_USAGE, _usage_values(Usage()), strict=True)), "total": 0, **told}


def tell_attempt(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    """What there is to say of an attempt: what is null, zero or empty is left out."""
    deployment = attempt.deployment
    told: dict[str, Any] = {
        "number": attempt.number,
        "deployment": deployment.id,
        "provider": deployment.provider,
        "model": outcome.model or deployment.model,
    }
    if deployment.region:
        told["region"] = deployment.region
    told["alias"] = attempt.alias
    told["reason"] = attempt.reason
    told["status"] = outcome.status
    if outcome.failure is not None:
        told |= _tell_failure(outcome.failure)
    if outcome.latency:
        told["latency_s"] = outcome.latency
    if outcome.first_token is not None:
        told["first_token_s"] = outcome.first_token
    told["usage"] = tell_usage(outcome.usage)
    if cost := outcome.cost:
        told["cost_nano_usd"] = cost
        if each := cost_per_1k(cost, outcome.usage):
            told["cost_per_1k_nano_usd"] = each
    if outcome.price is not None:
        told |= _tell_price(outcome.price)
    if attempt.adapted:
        told["adapted"] = list(attempt.adapted)
    for name in ("finish_reason", "skipped", "skipped_by"):
        if value := getattr(outcome, name):
            told[name] = value
    if outcome.quota is not None:
        told["quota"] = _tell_quota(outcome.quota)
    return told


def _tell_quota(quota: Quota) -> dict[str, Any]:
    """A replay needs it: rate limits are learned from it."""
    return {
        "limits": dict(quota.limits),
        "remaining": dict(quota.remaining),
        "resets_s": dict(quota.resets),
    }


def _tell_price(price: Price) -> dict[str, Any]:
    told = {"price_source": price.source}
    if price.as_of:
        told["price_as_of"] = price.as_of
    return told


def _tell_failure(failure: Failure) -> dict[str, Any]:
    told: dict[str, Any] = {"error_class": failure.error_class.value, "scope": failure.scope.value}
    if failure.status:
        told["http_status"] = failure.status
    if failure.code:
        told["code"] = failure.code
    if failure.retry_after is not None:
        told["retry_after_s"] = failure.retry_after
    return told


def whole_attempt(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same with everything that can be said of an attempt."""
    none: dict[str, Any] = dict.fromkeys(_ATTEMPT)
    none |= {"latency_s": 0.0, "cost_nano_usd": 0, "adapted": []}
    if not told["usage"].get("total"):
        return {**none, **told, "usage": whole_usage(told["usage"])}
    return {**none, "cost_per_1k_nano_usd": 0, **told, "usage": whole_usage(told["usage"])}


_ATTEMPT: Final = (
    *("number", "deployment", "provider", "model", "region", "alias", "reason", "status"),
    *("error_class", "scope", "http_status", "code", "retry_after_s", "latency_s", "first_token_s"),
    *("usage", "cost_nano_usd", "cost_per_1k_nano_usd", "price_source", "price_as_of", "finish_reason"),
    *("adapted", "skipped", "skipped_by", "quota"),
)


def attempt_of(values: Mapping[str, Any], call_id: str) -> tuple[Attempt, Outcome]:
    """What `tell_attempt` told, or `whole_attempt`. Of a deployment and its price no more than that."""
    deployment = Deployment(
        id=values["deployment"],
        alias=values["alias"],
        provider=values["provider"],
        model=values["model"],
        region=values.get("region"),
    )
    attempt = Attempt(
        call_id=call_id,
        number=values["number"],
        deployment=deployment,
        alias=values["alias"],
        reason=values["reason"],
        started=0.0,
        deadline=None,
        adapted=list(values.get("adapted") or ()),
    )
    failure = None
    if values.get("error_class"):
        failure = Failure(
            error_class=ErrorClass(values["error_class"]),
            scope=Scope(values["scope"]),
            status=values.get("http_status"),
            code=values.get("code"),
            retry_after=values.get("retry_after_s"),
        )
    source = values.get("price_source")
    usage = {name: value for name, value in (values.get("usage") or {}).items() if name in _USAGE}
    outcome = Outcome(
        status=values["status"],
        failure=failure,
        usage=Usage(**usage),
        cost=values.get("cost_nano_usd") or 0,
        price=Price(source=source, as_of=values.get("price_as_of") or "") if source else None,
        latency=values.get("latency_s") or 0.0,
        first_token=values.get("first_token_s"),
        finish_reason=values.get("finish_reason"),
        skipped=values.get("skipped"),
        skipped_by=values.get("skipped_by"),
        quota=_quota_of(values["quota"]) if values.get("quota") else None,
    )
    return attempt, outcome


def _quota_of(values: Mapping[str, Any]) -> Quota:
    return Quota(limits=values["limits"], remaining=values["remaining"], resets=values["resets_s"])
