"""One attempt on its way: a whole answer, or a stream up to its commit point and beyond."""

from __future__ import annotations

from typing import Any, Final

from llmgate_plugins._building import builder
from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.effects import END, Left, Open, Read, Send
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.streaming import deliver
from llmgate_plugins.errors import DeadlineExceeded, ProviderError
from llmgate_plugins.transport import Meter
from llmgate_plugins.types import Attempt, Outcome, Request, Response

__all__ = ["Opened", "answered", "fitted", "opening", "send", "void"]

_send: Final = builder(Send)


class Opened:
    """A stream whose first content has come, or that has ended and said why.

    Attributes:
        held: The chunks so far.
        first_token: Seconds from the attempt's begin.
    """

    __slots__ = ("first_token", "held", "meter", "stream")

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.stream: Any = None
        self.held: list[Any] = []
        self.first_token: float | None = None


def send(flight: Flight, attempt: Attempt) -> Steps:
    """Returns (response or None, outcome, what must be raised when the books are settled)."""
    request = fitted(flight, attempt)
    if request.stream:
        opened = Opened(flight.meter(attempt, request))
        try:
            yield from opening(flight, attempt, request, opened)
        except Left as leaving:
            yield from outcomes.closed(opened.stream)
            return None, outcomes.left(flight, attempt, leaving, opened.meter), leaving
        except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is a failed attempt
            ended = yield from outcomes.failed(flight, attempt, error, opened.meter, opened.stream)
            return None, *ended
        return (yield from deliver(flight, attempt, opened))
    try:
        response = yield _send(attempt, request)
    except Left as leaving:
        return None, outcomes.left(flight, attempt, leaving), leaving
    except Exception as error:  # noqa: BLE001 - as above
        return None, *(yield from outcomes.failed(flight, attempt, error))
    return answered(flight, attempt, response) or (yield from void(flight, attempt, response))


def answered(flight: Flight, attempt: Attempt, response: Response) -> tuple[Response, Outcome, None] | None:
    """What a whole answer makes of an attempt; None if it is empty, though the model says it has finished."""
    if response.empty and response.finish_reason in (None, "stop"):
        return None
    return response, outcomes.answered(flight, attempt, response), None


def void(flight: Flight, attempt: Attempt, response: Response) -> Steps:
    """Returns (None, outcome, what must be raised) of an attempt whose answer is empty: it has failed.

    The answer is kept, and given out if nothing better comes: after a tool's result it may be meant so.
    """
    flight.empty = (response, ())
    error = ProviderError("the answer has nothing in it", code="empty_response")
    return None, *(yield from outcomes.failed(flight, attempt, error, usage=response.usage))


def fitted(flight: Flight, attempt: Attempt) -> Request:
    """The request as this provider takes it; what that changed stands in `attempt.adapted`."""
    request, changes = flight.core.fit(flight.call.request, attempt.deployment)
    if changes:
        attempt.adapted.extend(changes)
    return request


def opening(flight: Flight, attempt: Attempt, request: Request, opened: Opened) -> Steps:
    """Fills `opened` up to the first chunk with content. A role alone commits to nothing.

    Raises:
        ProviderError: The stream ended before any content, without saying why.
        TimeoutError: Chunks came, but none with content within `limits.first_token`.
        DeadlineExceeded: The call's time was over.
    """
    opened.stream = stream = yield Open(attempt, request)
    read, feed = Read(stream, attempt), opened.meter.feed
    patience = attempt.limits.first_token
    while True:
        chunk = yield read
        if chunk is END:
            reason = opened.meter.finish_reason
            if reason in (None, "stop"):
                if reason is not None:
                    flight.empty = (Response(source=opened.meter.message), opened.held)
                raise ProviderError("the stream ended before any content", code="empty_response")
            break
        opened.held.append(chunk)
        if feed(chunk):
            break
        now = flight.now()
        if attempt.deadline is not None and now >= attempt.deadline:
            raise DeadlineExceeded("the call's time was over before the stream had any content")
        if patience is not None and now - attempt.started >= patience:
            raise TimeoutError(f"{attempt.deployment.id} sent no content within {patience:g} s")
    opened.first_token = flight.now() - attempt.started
