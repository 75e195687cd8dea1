"""How an attempt ended, in tokens and money. Never zero for what may be billed, never the worst case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from llmgate_plugins._building import builder
from llmgate_plugins._engine.believing import unknown, used
from llmgate_plugins._engine.effects import Close, Left
from llmgate_plugins._engine.failing import classified
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.classification import reaction_to
from llmgate_plugins.transport import Meter
from llmgate_plugins.types import NO_USAGE, Attempt, Failure, Outcome, Price, Response, Usage

__all__ = ["answered", "closed", "delivered", "failed", "left", "skipped"]

SAY_WHAT_THEY_CHARGE: Final = frozenset({"openrouter", "perplexity", "xai"})
"""Providers whose word on what a request costs is what they bill."""

CHARGED: Final = Price(source="provider")
"""In place of a price where the provider said what it charges."""

_outcome: Final = builder(Outcome)


def _booked(
    flight: Flight, attempt: Attempt, usage: Usage, model: str | None
) -> tuple[Usage, int, Price | None]:
    """The usage, what it costs by the model that served, and the price that says so.

    What was served in a way that has no price of its own is marked as estimated.
    """
    deployment = attempt.deployment
    price = deployment.price
    if model is not None and model != deployment.model and isinstance(model, str):  # by anybody's word
        price = flight.core.price_of(deployment, model)
    if usage.charged is not None:
        if usage.charged_by:
            if price is None or not price.tells(usage):
                return usage, usage.charged, Price(source=usage.charged_by)
        elif deployment.provider in SAY_WHAT_THEY_CHARGE and (price is None or price.source != "config"):
            if usage.charged or price is None or not price.cost(usage):
                return usage, usage.charged, CHARGED
            usage = replace(usage, charged=None, estimated=True)  # nothing, for what is not free
    if price is None:
        return usage, 0, None
    if usage.iterations:
        return _by_iteration(flight, attempt, usage, price)
    if usage.tier and not price.has(usage.tier):
        usage = replace(usage, estimated=True)
    if price.tiers:
        price = price.at(usage.total_input, usage.tier)
    return usage, price.cost(usage), price


def _by_iteration(flight: Flight, attempt: Attempt, usage: Usage, price: Price) -> tuple[Usage, int, Price]:
    """The same for what a provider bills in several parts: each by its own length and model.

    The price is that of the model that answered, for the longest part.
    """
    prices, longest = [], 0
    for part, model in usage.iterations:
        known = price if model is None else flight.core.price_of(attempt.deployment, model)
        if known is None or not known.has(usage.tier):
            usage = replace(usage, estimated=True)
        prices.append((known or price).at(part.total_input, usage.tier))
        longest = max(longest, part.total_input)
    price = price.at(longest, usage.tier)
    if all(one is price for one in prices):
        return usage, price.cost(usage), price
    costs = [one.cost(part) for one, (part, _) in zip(prices, usage.iterations, strict=True)]
    return usage, sum(costs), price


def answered(flight: Flight, attempt: Attempt, response: Response) -> Outcome:
    """A whole answer came back."""
    usage = used(flight, attempt, response.usage, response)
    usage, cost, price = _booked(flight, attempt, usage, response.model)
    return _outcome(
        status="success",
        usage=usage,
        cost=cost,
        price=price,
        latency=flight.now() - attempt.started,
        finish_reason=response.finish_reason,
        model=response.model,
        response_id=response.id,
        quota=response.quota,
    )


def delivered(flight: Flight, attempt: Attempt, meter: Meter, first_token: float | None) -> Outcome:
    """A whole stream was read."""
    return _streamed(flight, attempt, meter, first_token, Outcome(status="success"))


def closed(stream: Any) -> Steps:
    """Close a stream that was not read to its end. Returns the `Left` of a caller who left meanwhile."""
    if stream is not None:
        try:
            yield Close(stream)
        except Left as leaving:
            return leaving
    return None


def failed(
    flight: Flight,
    attempt: Attempt,
    error: Exception,
    meter: Meter | None = None,
    stream: Any = None,
    first_token: float | None = None,
    usage: Usage | None = None,
) -> Steps:
    """The same as `broken`, with its stream closed. Returns the outcome, and the `Left` of a caller who
    left meanwhile: an attempt that has failed is told of, whatever happens then."""
    fatal = yield from closed(stream)
    try:
        return (yield from broken(flight, attempt, error, meter, first_token, usage)), fatal
    except Left as leaving:
        return left(flight, attempt, leaving, meter, first_token), leaving


def broken(
    flight: Flight,
    attempt: Attempt,
    error: Exception,
    meter: Meter | None = None,
    first_token: float | None = None,
    usage: Usage | None = None,
) -> Steps:
    """The provider, the way to it or its client failed. Returns the `Outcome`.

    Args:
        usage: What an answer that is none reported.
    """
    failure = yield from classified(flight, attempt, error)
    quota = flight.core.quota_of(error)
    ended = Outcome(status="error", error=error, failure=failure, quota=quota)
    if meter is not None and (first_token is not None or meter.usage is not None):
        return _streamed(flight, attempt, meter, first_token, ended)
    if usage is not None or (meter is not None and _may_be_billed(failure)):
        usage = used(flight, attempt, usage, None)  # of a stream that brought nothing: its input
    else:
        usage = unknown(flight, attempt) if _may_be_billed(failure) else NO_USAGE
    usage, cost, price = _booked(flight, attempt, usage, None)
    return Outcome(
        status="error",
        error=error,
        failure=failure,
        usage=usage,
        cost=cost,
        price=price,
        latency=flight.now() - attempt.started,
        quota=quota,
    )


def left(
    flight: Flight,
    attempt: Attempt,
    leaving: Left,
    meter: Meter | None = None,
    first_token: float | None = None,
) -> Outcome:
    """The caller went away while the provider was working."""
    ended = Outcome(status=leaving.status)
    if meter is not None:
        return _streamed(flight, attempt, meter, first_token, ended)
    usage = unknown(flight, attempt)
    usage, cost, price = _booked(flight, attempt, usage, None)
    return Outcome(
        status=leaving.status,
        usage=usage,
        cost=cost,
        price=price,
        latency=flight.now() - attempt.started,
    )


def _may_be_billed(failure: Failure) -> bool:
    """Whether the request may have reached the model."""
    return reaction_to(failure).booked != "nothing"


def skipped(reason: str, by: str | None = None) -> Outcome:
    """Never sent."""
    return Outcome(status="skipped", skipped=reason, skipped_by=by)


def _streamed(
    flight: Flight, attempt: Attempt, meter: Meter, first_token: float | None, ended: Outcome
) -> Outcome:
    whole = ended.ok or meter.finish_reason is not None
    usage = used(flight, attempt, meter.usage, meter, whole=whole)
    usage, cost, price = _booked(flight, attempt, usage, meter.model)
    return Outcome(
        status=ended.status,
        error=ended.error,
        failure=ended.failure,
        usage=usage,
        cost=cost,
        price=price,
        latency=flight.now() - attempt.started,
        first_token=first_token,
        finish_reason=meter.finish_reason,
        model=meter.model,
        response_id=getattr(meter, "id", None),
        quota=ended.quota or getattr(meter, "quota", None),
    )
