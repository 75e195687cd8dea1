"""A span per call through the OpenTelemetry API: nothing to see, and little to pay, without an SDK."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Outcome

__all__ = ["Tracing"]

PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
}
"""LiteLLM's provider names where the GenAI conventions have another; the rest are the same."""


class Tracing:
    """Writes each call as one span, its attempts as events, by the GenAI semantic conventions.

    The span is written when the call is over, with the times it really had, as a child of
    the span that is current then. It holds no prompt and no answer. Facts of the context
    and tags stand under `llmgate.context.*` and `llmgate.tag.*`.

    Args:
        provider: Default: the global tracer provider.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("llmgate", tracer_provider=provider)

    @hookimpl
    def end_call(self, record: DecisionRecord, services: Services) -> None:
        """Write the span."""
        span = self._tracer.start_span(
            f"{record.operation} {record.model}", kind=SpanKind.CLIENT, start_time=_nanos(record.at)
        )
        if span.is_recording():
            span.set_attributes(_attributes(record))
            for attempt, outcome in record.attempts:
                _event(span, record, attempt, outcome, services)
            if record.status == "error":
                span.set_status(Status(StatusCode.ERROR, record.error))
        span.end(end_time=_nanos(record.at + record.latency))


def _attributes(record: DecisionRecord) -> dict[str, Any]:
    usage = record.usage
    found: dict[str, Any] = {
        "gen_ai.operation.name": "embeddings" if record.operation == "embedding" else "chat",
        "gen_ai.request.model": record.model,
        "gen_ai.request.stream": record.stream,
        "gen_ai.usage.input_tokens": usage.input + usage.cached_input + usage.cache_write,
        "gen_ai.usage.output_tokens": usage.output + usage.reasoning,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "llmgate.call_id": record.call_id,
        "llmgate.status": record.status,
        "llmgate.attempts": len(record.attempts),
        "llmgate.cost_nano_usd": record.cost,
        "llmgate.estimated": usage.estimated,
    }
    if record.attempts:
        attempt, outcome = record.attempts[-1]
        provider = attempt.deployment.provider
        found["gen_ai.provider.name"] = PROVIDERS.get(provider, provider)
        found["gen_ai.response.model"] = outcome.model or attempt.deployment.model
        found["llmgate.deployment"] = attempt.deployment.id
        if outcome.failure is not None:
            found["error.type"] = outcome.failure.error_class.value
        if outcome.finish_reason:
            found["gen_ai.response.finish_reasons"] = (outcome.finish_reason,)
    if record.first_token is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.first_token
    for name in ("tenant", "team", "project", "user", "feature", "cohort", "environment", "region", "policy"):
        value = getattr(record.context, name)
        if value is not None:
            found[f"llmgate.context.{name}"] = value
    for name, value in record.tags.items():
        found[f"llmgate.tag.{name}"] = value
    return found


def _event(
    span: Span, record: DecisionRecord, attempt: Attempt, outcome: Outcome, services: Services
) -> None:
    """An attempt, at the time it began: monotonic times are placed by how long ago they were."""
    clock = services.clock
    began = clock.time() - (clock.monotonic() - attempt.started)
    attributes: dict[str, Any] = {
        "llmgate.attempt.number": attempt.number,
        "llmgate.attempt.reason": attempt.reason,
        "llmgate.deployment": attempt.deployment.id,
        "llmgate.attempt.status": outcome.status,
        "llmgate.attempt.latency": outcome.latency,
        "llmgate.cost_nano_usd": outcome.cost,
    }
    if outcome.failure is not None:
        attributes["error.type"] = outcome.failure.error_class.value
    if outcome.skipped:
        attributes["llmgate.attempt.skipped"] = outcome.skipped
    span.add_event("llmgate.attempt", attributes, timestamp=max(_nanos(record.at), _nanos(began)))


def _nanos(seconds: float) -> int:
    return int(seconds * 1e9)
