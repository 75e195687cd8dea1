"""Tells OpenTelemetry of every call: spans and metrics by the GenAI semantic conventions."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, get_args

from opentelemetry.trace import Tracer, TracerProvider

from llmgate_plugins.alerts import Alert
from llmgate_plugins.context import FACTS, Call, StashKey
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.telemetry import content as said
from llmgate_plugins.plugins.telemetry.instruments import Names
from llmgate_plugins.plugins.telemetry.measuring import Measuring
from llmgate_plugins.plugins.telemetry.sdk import metering, tracing
from llmgate_plugins.plugins.telemetry.spans import AttemptsAs, CallSpans, begin_call
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import EMPTY, Attempt, Outcome, Request, Response

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

__all__ = ["Telemetry"]

log = logging.getLogger("llmgate")

_SPANS: Final = StashKey[CallSpans]("telemetry.spans")
_ARRIVALS: Final = StashKey[dict[int, list[float]]]("telemetry.arrivals")
"""Number of an attempt -> when the chunks of its stream came, monotonic seconds."""
_ANSWER: Final = StashKey[Response]("telemetry.answer")

OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""The environment variable by which instrumentations are told to use the next names."""
_OPTED: Final[dict[str, Names]] = {
    "gen_ai_latest_experimental": "next",
    "gen_ai_latest_experimental/dup": "both",
}


class Telemetry:
    """Writes spans and metrics through the OpenTelemetry API; next to nothing happens without an SDK.

    A call is one span, its attempts are spans below it, whatever host it came from. Nothing of
    a prompt or an answer is in them, nor in an error's description, unless asked for.

    Args:
        spans: False for metrics only.
        metrics: False for spans only.
        names: Which names the conventions' metrics have: "current", "next" or "both". Default:
            what `OTEL_SEMCONV_STABILITY_OPT_IN` says (`gen_ai_latest_experimental`: next;
            with `/dup`: both), else current.
        attempts: "spans" below the call's span, or "events" on it.
        content: Record messages and answers on spans, secrets masked. Default: whether
            `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for it.
        metric_facts: Fields of `Context` that become attributes of metrics: each of their
            values is a time series of its own.
        tracer_provider, meter_provider: Default: the global ones, as they are at each call.

    Raises:
        ValueError: There is no such choice, or no such fact.
    """

    def __init__(
        self,
        *,
        spans: bool = True,
        metrics: bool = True,
        names: Names | None = None,
        attempts: AttemptsAs = "spans",
        content: bool | None = None,
        metric_facts: Sequence[str] = (),
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        names = names or _opted()
        if names not in get_args(Names):
            raise ValueError(f"names must be one of {', '.join(get_args(Names))}, not {names!r}")
        if attempts not in get_args(AttemptsAs):
            raise ValueError(f"attempts must be one of {', '.join(get_args(AttemptsAs))}, not {attempts!r}")
        unknown = [fact for fact in metric_facts if fact not in FACTS]
        if unknown:
            raise ValueError(f"metric_facts may name {', '.join(FACTS)}, not {unknown[0]!r}")
        self.services: Services | None = None
        self._names: Names = names
        self._attempts: AttemptsAs = attempts
        self._facts = tuple(metric_facts)
        self._content = said.asked_for() if content is None else content
        self._tracing = tracing(tracer_provider) if spans else None
        self._metering = metering(meter_provider) if metrics else None
        self._failed = False
        self._measuring: tuple[object, Measuring] | None = None

    # ------------------------------------------------------------ hooks

    @hookimpl(tryfirst=True)
    def admit_request(self, call: Call, services: Services) -> None:
        """Begin the call's span, and note which trace the call is part of, before anything else is done."""
        self.services = services
        if self._tracing is not None and not call.hypothetical:
            tracer = self._tracing.at(call.record.at)
            if tracer is not None:
                self._begin(tracer, call)

    @hookimpl(trylast=True)
    def begin_attempt(self, attempt: Attempt, request: Request, call: Call, services: Services) -> None:
        """Begin the attempt's span when nobody can skip it any more; note when its chunks come."""
        if call.record.trace_id is not None and (spans := call.stashed(_SPANS)) is not None:
            spans.begin(attempt)
        if request.stream and self._counter(call.record.at) is not None:
            arrivals = call.stash.get(_ARRIVALS)
            if arrivals is None:
                arrivals = call.stash[_ARRIVALS] = {}
            came, monotonic = arrivals.setdefault(attempt.number, []), services.clock.monotonic
            attempt.watchers.append(lambda _chunk: came.append(monotonic()))

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call) -> None:
        """End the attempt's span."""
        if call.record.trace_id is not None and (spans := call.stashed(_SPANS)) is not None:
            spans.end(attempt, outcome)

    @hookimpl(trylast=True)
    def review_response(self, response: Response, call: Call) -> None:
        """Keep the answer as the caller gets it, where content is recorded."""
        if self._content:
            call.stash[_ANSWER] = response

    @hookimpl
    def end_call(self, record: DecisionRecord, request: Request, call: Call) -> None:
        """Count, and end the call's span."""
        try:
            measuring = self._counter(record.at)
            if measuring is not None:
                measuring.count_call(record, _gaps(record, call.stash.get(_ARRIVALS) or {}))
        finally:
            if not record.attempts and self._tracing is not None and call.stashed(_SPANS) is None:
                tracer = self._tracing.at(record.at)
                if tracer is not None:  # another plugin that comes first has denied it
                    self._begin(tracer, call)
            spans = None if record.trace_id is None else call.stashed(_SPANS)
            if spans is not None:
                content = EMPTY
                if self._content and spans.are_recorded:
                    content = said.content_attributes(request, call.stash.get(_ANSWER))
                spans.end_call(request, content)

    @hookimpl
    def deliver_alert(self, alert: Alert, services: Services) -> None:
        """Count what somebody should know."""
        measuring = self._counter(services.clock.time())
        if measuring is not None:
            measuring.count_alert(alert)

    # ------------------------------------------------------------ inside

    def _begin(self, tracer: Tracer, call: Call) -> None:
        try:
            spans = begin_call(tracer, call, self._attempts)
        except Exception:  # a broken span processor must not stop a call
            if not self._failed:
                self._failed = True
                log.exception("spans cannot begin; calls go on without (said once)")
            return
        if spans is not None:
            call.stash[_SPANS] = spans

    def _counter(self, at: float) -> Measuring | None:
        """What counts, if anybody wants to know."""
        meter = None if self._metering is None else self._metering.at(at)
        if meter is None:
            return None
        if self._measuring is None or self._measuring[0] is not meter:
            from llmgate_plugins.plugins.telemetry.gauges import watch  # brings in the API of metrics

            self._measuring = meter, Measuring(meter, self._names, self._facts)
            watch(meter, self)
        return self._measuring[1]


def _gaps(record: DecisionRecord, arrivals: dict[int, list[float]]) -> dict[int, list[float]]:
    """Number of an attempt -> seconds from one chunk of its stream to the next, from its first content on."""
    gaps = {}
    for attempt, outcome in record.attempts:
        came = arrivals.get(attempt.number)
        if came and outcome.first_token is not None:
            before = [attempt.started + outcome.first_token, *came[:-1]]
            gaps[attempt.number] = [max(now - then, 0.0) for then, now in zip(before, came, strict=True)]
    return gaps


def _opted() -> Names:
    """What the environment says of names."""
    for word in os.environ.get(OPT_IN, "").split(","):
        if (names := _OPTED.get(word.strip())) is not None:
            return names
    return "current"
