"""How an attempt ended, in tokens and money. Never zero for what was delivered, never the worst case."""

from __future__ import annotations

from dataclasses import replace

from llmgate_plugins._engine.effects import Left
from llmgate_plugins._engine.failing import classified
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.classification import reaction_to
from llmgate_plugins.transport import Meter
from llmgate_plugins.types import NO_USAGE, Attempt, Outcome, Price, Response, Usage

__all__ = ["answered", "broken", "delivered", "left", "skipped"]


def _price(flight: Flight, attempt: Attempt, usage: Usage, model: str | None) -> Price | None:
    """What this usage costs, by the model that served."""
    deployment = attempt.deployment
    price = deployment.price
    if model is not None and model != deployment.model:
        price = flight.core.price_of(deployment, model)
    return None if price is None else price.at(usage.total_input, usage.tier)


def _cost(price: Price | None, usage: Usage) -> int:
    return 0 if price is None else price.cost(usage)


def _estimate(flight: Flight, attempt: Attempt, characters: int) -> Usage:
    """Tokens of the request and what was delivered; a model reads no more than its window holds."""
    usage, window = flight.core.estimate(flight.call.request, characters), attempt.deployment.context_window
    return usage if window is None or usage.input <= window else replace(usage, input=window)


def answered(flight: Flight, attempt: Attempt, response: Response) -> Outcome:
    """A whole answer came back."""
    usage = response.usage
    if usage is None:
        usage = _estimate(flight, attempt, len(response.text))
    price = _price(flight, attempt, usage, response.model)
    return Outcome(
        status="success",
        usage=usage,
        cost=_cost(price, usage),
        price=price,
        latency=flight.now() - attempt.started,
        finish_reason=response.finish_reason,
        model=response.model,
        quota=response.quota,
    )


def delivered(flight: Flight, attempt: Attempt, meter: Meter, first_token: float | None) -> Outcome:
    """A whole stream was read."""
    return _streamed(flight, attempt, meter, first_token, Outcome(status="success"))


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
    if usage is None:
        # Where the request may have reached the model, its input is booked as an estimate.
        billed = reaction_to(failure).booked != "nothing"
        usage = _estimate(flight, attempt, 0) if billed else NO_USAGE
    price = _price(flight, attempt, usage, None)
    return Outcome(
        status="error",
        error=error,
        failure=failure,
        usage=usage,
        cost=_cost(price, usage),
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
    usage = _estimate(flight, attempt, 0)
    price = _price(flight, attempt, usage, None)
    return Outcome(
        status=leaving.status,
        usage=usage,
        cost=_cost(price, usage),
        price=price,
        latency=flight.now() - attempt.started,
    )


def skipped(reason: str) -> Outcome:
    """Never sent."""
    return Outcome(status="skipped", skipped=reason)


def _streamed(
    flight: Flight, attempt: Attempt, meter: Meter, first_token: float | None, ended: Outcome
) -> Outcome:
    usage = meter.usage
    if usage is None:
        usage = _estimate(flight, attempt, len(meter.text))
    price = _price(flight, attempt, usage, meter.model)
    return Outcome(
        status=ended.status,
        error=ended.error,
        failure=ended.failure,
        usage=usage,
        cost=_cost(price, usage),
        price=price,
        latency=flight.now() - attempt.started,
        first_token=first_token,
        finish_reason=meter.finish_reason,
        model=meter.model,
        quota=ended.quota or getattr(meter, "quota", None),
    )
