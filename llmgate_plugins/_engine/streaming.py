"""A stream up to its commit point, where failing over is free, and after it, where nothing is spliced."""

from __future__ import annotations

from typing import Any

from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.effects import END, Close, Emit, Left, Open, Read, Relay
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import ProviderError, StreamInterrupted
from llmgate_plugins.transport import Meter
from llmgate_plugins.types import Attempt, Response

__all__ = ["relay"]


def relay(flight: Flight, attempt: Attempt) -> Steps:
    """Returns (response or None, outcome, what must be raised when the books are settled)."""
    request = flight.call.request
    meter = flight.meter(attempt, request)
    stream: Any = None
    first_token: float | None = None
    try:
        stream = yield Open(attempt, request)
        held = yield from _until_content(stream, meter)
        first_token = flight.now() - attempt.started
        record = flight.call.record
        record.first_token = flight.now() - flight.call.started
        for chunk in held:
            yield Emit(chunk)
        yield Relay(stream, meter.feed, attempt.deadline)
        _check_whole(meter)
    except Left as leaving:
        yield from _close(stream)
        return None, outcomes.left(flight, attempt, leaving, meter, first_token), leaving
    except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is a failed attempt
        yield from _close(stream)
        outcome = outcomes.broken(flight, attempt, error, meter, first_token)
        return None, outcome, _interrupted(error, meter) if first_token is not None else None
    outcome = outcomes.delivered(flight, attempt, meter, first_token)
    response = Response(
        source=meter.message,
        usage=outcome.usage,
        finish_reason=meter.finish_reason,
        model=meter.model,
        deployment_id=attempt.deployment.id,
    )
    return response, outcome, None


def _until_content(stream: Any, meter: Meter) -> Steps:
    """Returns the chunks up to the first with content. A role alone commits to nothing.

    A stream that ends before any content is an answer only if it says why it stopped.
    """
    held: list[Any] = []
    read = Read(stream)
    while True:
        chunk = yield read
        if chunk is END:
            if meter.finish_reason is None:
                raise ProviderError("the stream ended before any content", code="empty_response")
            return held
        held.append(chunk)
        if meter.feed(chunk):
            return held


def _check_whole(meter: Meter) -> None:
    if not meter.complete:
        raise ProviderError("the stream ended without a finish reason", code="truncated")


def _interrupted(error: Exception, meter: Meter) -> StreamInterrupted:
    interrupted = StreamInterrupted(
        f"the stream broke after {len(meter.text)} characters: {type(error).__name__}: {error}",
        partial=meter.text,
    )
    interrupted.__cause__ = error
    return interrupted


def _close(stream: Any) -> Steps:
    if stream is not None:
        yield Close(stream)
