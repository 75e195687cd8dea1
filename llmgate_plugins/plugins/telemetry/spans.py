"""The spans of one call: one for the call, and one for each attempt that was sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from opentelemetry.context import Context as Surroundings
from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)

from llmgate_plugins.context import Call
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.plugins.telemetry.attributes import (
    attempt_attributes,
    call_attributes,
    error_type,
    request_attributes,
    skipped_attributes,
)
from llmgate_plugins.types import Attempt, Outcome, Request

__all__ = ["AttemptsAs", "CallSpans", "begin_call"]

AttemptsAs = Literal["spans", "events"]
"""Whether attempts are spans of their own below the call's, or events on it."""


def begin_call(tracer: Tracer, call: Call, attempts: AttemptsAs) -> CallSpans | None:
    """Begin the span of a call, and note in its record which trace that is part of.

    Returns None where the tracer makes no spans.
    """
    record = call.record
    above = call.origin.run(get_current)
    operation = n.operation(record.operation)
    span = tracer.start_span(
        f"{operation} {record.model}",
        above,
        SpanKind.CLIENT,
        {n.OPERATION: operation, n.REQUEST_MODEL: record.model},  # what a sampler may go by
        start_time=_nanos(record.at),
    )
    trace = span.get_span_context()
    if not trace.is_valid:
        return None
    record.trace_id = format_trace_id(trace.trace_id)
    if trace == get_current_span(above).get_span_context():  # spans of ours are off
        return None
    return CallSpans(tracer, call, span, above, attempts)


class CallSpans:
    """The span of a call, a child of the one that was current where it was made, and those below it.

    The attempt's span is current while the provider is asked, and so the parent of what an
    instrumented HTTP client does; where attempts are events it is the call's. It is never
    current in what a stream's reader does between two chunks.
    """

    __slots__ = ("_around", "_as_spans", "_attempts", "_call", "_span", "_tracer")

    def __init__(
        self, tracer: Tracer, call: Call, span: Span, above: Surroundings, attempts: AttemptsAs
    ) -> None:
        self._tracer = tracer
        self._call = call
        self._span = span
        self._as_spans = attempts == "spans" and span.is_recording()
        self._around = set_span_in_context(span, above)
        self._attempts: dict[int, Span] = {}

    @property
    def are_recorded(self) -> bool:
        """Whether anybody will see what they say; the sampler decides."""
        return self._span.is_recording()

    def begin(self, attempt: Attempt) -> None:
        """An attempt is about to be sent."""
        if attempt.number in self._attempts:
            return
        around = self._around
        if self._as_spans:
            span = self._tracer.start_span(
                f"attempt {attempt.deployment.id}", around, start_time=self._time(attempt.started)
            )
            self._attempts[attempt.number] = span
            around = set_span_in_context(span, around)
        attempt.around.append(partial(_current, around))

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """It has ended."""
        if not self.are_recorded:
            return
        attributes = attempt_attributes(attempt, outcome)
        span = self._attempts.pop(attempt.number, None)
        if span is None:
            if not self._as_spans and outcome.status != "skipped":
                self._event(attempt, attributes)
            return
        span.set_attributes(attributes)
        if outcome.status == "error":
            span.set_status(Status(StatusCode.ERROR, attributes.get(n.ERROR_TYPE)))
        span.end(self._time(attempt.started + outcome.latency))

    def end_call(self, request: Request, content: Mapping[str, str]) -> None:
        """The call has ended."""
        span, record = self._span, self._call.record
        if self.are_recorded:
            span.set_attributes({**request_attributes(request), **call_attributes(record), **content})
            for attempt, outcome in record.attempts:
                if outcome.status == "skipped":
                    self._event(attempt, skipped_attributes(attempt, outcome))
            failed = error_type(record)
            if failed is not None:
                # Not the error's own words: providers quote what was said to them.
                span.set_status(Status(StatusCode.ERROR, failed))
        span.end(_nanos(record.at + record.latency))

    def _event(self, attempt: Attempt, attributes: Mapping[str, Any]) -> None:
        self._span.add_event(n.ATTEMPT_EVENT, attributes, self._time(attempt.started))

    def _time(self, monotonic: float) -> int:
        """A moment of the gateway's monotonic clock as OpenTelemetry counts time."""
        return _nanos(self._call.record.at + monotonic - self._call.started)


@contextmanager
def _current(surroundings: Surroundings) -> Iterator[None]:
    token = attach(surroundings)
    try:
        yield
    finally:
        detach(token)


def _nanos(seconds: float) -> int:
    return int(seconds * 1e9)
