"""A call is one span, its attempts are events, and no prompt is in it."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from support.faces import ask, every_face
from support.gateways import deployment, scene

from llmgate_plugins import Context, ProviderError
from llmgate_plugins.plugins import Tracing


def traced(script: dict, **options):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return scene(script, Tracing(provider), **options), exporter


@every_face
def test_a_call_is_one_span_with_its_attempts_as_events(face: str) -> None:
    s, exporter = traced(
        {"a": [ProviderError("down", status=503)], "b": ["an answer"]},
        deployments=[deployment("a", provider="azure"), deployment("b", provider="bedrock")],
    )
    ask(face, s.gateway, prompt="a private question", context=Context(team="search"), tags={"job": "7"})
    (span,) = exporter.get_finished_spans()
    seen = dict(span.attributes)
    assert span.name == "chat fast"
    assert seen["gen_ai.provider.name"] == "aws.bedrock"
    assert seen["gen_ai.response.model"] == "model-b"
    assert seen["llmgate.context.team"] == "search"
    assert seen["llmgate.tag.job"] == "7"
    assert seen["gen_ai.usage.input_tokens"] > 0
    assert seen["llmgate.cost_nano_usd"] == s.gateway.decisions[-1].cost
    assert [event.attributes["llmgate.attempt.status"] for event in span.events] == ["error", "success"]
    assert span.events[0].attributes["error.type"] == "overloaded"
    assert "private" not in span.to_json()
    assert span.start_time <= span.events[0].timestamp <= span.end_time


def test_a_failed_call_is_an_error_span() -> None:
    s, exporter = traced({"a": [ProviderError("bad", status=400)]})
    ask("sync", s.gateway)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "invalid_request"


def test_without_an_sdk_nothing_happens() -> None:
    s = scene({"a": ["fine"]}, Tracing())
    assert ask("sync", s.gateway).text == "fine"
    assert s.gateway.decisions[-1].problems == []
