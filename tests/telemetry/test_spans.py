"""A call is one span, its attempts are spans below it, and each is where its cause is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from support.faces import STREAMS, ask, every_face, every_stream
from support.gateways import deployment, scene
from support.patience import auntil
from support.telemetry import Listener, Looking, heard

from llmgate_plugins import (
    Context,
    Gateway,
    Limits,
    ProviderError,
    Request,
    RequestDenied,
    Response,
    Skip,
    hookimpl,
)
from llmgate_plugins.plugins import Telemetry
from llmgate_plugins.testing import Hang, ScriptedProvider, Slow, Stream
from llmgate_plugins.types import Endpoint

DOWN = ProviderError("down", status=503)


@every_face
def test_a_call_is_one_span_and_its_attempts_are_spans_below_it(face: str) -> None:
    s, told = heard(
        {"a": [DOWN], "b": ["an answer"]},
        deployments=[
            deployment(
                "a", provider="azure", region="eu", endpoint=Endpoint(base_url="https://eu.example.com/v1")
            ),
            deployment("b", provider="bedrock", endpoint=Endpoint(base_url="http://10.0.0.7:8080/v1")),
        ],
    )
    ask(face, s.gateway, context=Context(team="search", user="u-1"), tags={"job": "7"})
    call = told.call
    assert call.name == "chat fast"
    record = s.gateway.decisions[-1]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "fast",
        "gen_ai.request.stream": face in STREAMS,
        "gen_ai.response.model": "model-b",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": record.usage.input,
        "gen_ai.usage.output_tokens": record.usage.output,
        "server.address": "10.0.0.7",
        "server.port": 8080,
        "llmgate.call.id": record.call_id,
        "llmgate.call.status": "success",
        "llmgate.alias": "fast",
        "llmgate.deployment": "b",
        "llmgate.attempts": 2,
        "llmgate.cost": record.cost / 1e9,
        "llmgate.estimated": record.usage.estimated,
        "llmgate.context.team": "search",
        "llmgate.context.user": "u-1",
        "llmgate.context.priority": 1,
        "llmgate.tag.job": "7",
    }
    seen = dict(call.attributes)
    if face in STREAMS:
        assert seen.pop("gen_ai.response.time_to_first_chunk") == record.first_token
    assert seen == expected
    assert call.status.status_code is StatusCode.UNSET

    first, second = told.attempts
    assert [first.name, second.name] == ["attempt a", "attempt b"]
    assert all(span.kind is SpanKind.INTERNAL for span in (first, second))
    assert all(span.parent.span_id == call.context.span_id for span in (first, second))
    assert first.status.status_code is StatusCode.ERROR
    assert dict(first.attributes) == {
        "llmgate.attempt.number": 1,
        "llmgate.attempt.reason": "first",
        "llmgate.attempt.status": "error",
        "llmgate.alias": "fast",
        "llmgate.deployment": "a",
        "llmgate.deployment.provider": "azure.ai.openai",
        "llmgate.deployment.model": "model-a",
        "llmgate.region": "eu",
        "llmgate.attempt.input_tokens": 0,
        "llmgate.attempt.output_tokens": 0,
        "llmgate.cost": 0.0,
        "llmgate.estimated": False,
        "server.address": "eu.example.com",
        "server.port": 443,
        "error.type": "overloaded",
        "http.response.status_code": 503,
    }
    assert second.attributes["llmgate.attempt.reason"] == "next_deployment"
    assert second.attributes["llmgate.attempt.model"] == "model-b"
    assert second.attributes["llmgate.attempt.output_tokens"] == record.usage.output
    assert ("llmgate.attempt.first_token" in second.attributes) is (face in STREAMS)


@every_face
def test_spans_have_the_times_that_the_gateway_took(face: str) -> None:
    s, told = heard({"a": [Slow(1.5, DOWN)], "b": [Slow(0.5, "an answer")]})
    s.clock.advance(100.0)
    ask(face, s.gateway)
    call, (first, second) = told.call, told.attempts
    began = s.gateway.decisions[-1].at
    assert call.start_time == int(began * 1e9)
    took = [(span.end_time - span.start_time) / 1e9 for span in (call, first, second)]
    assert took[1] == pytest.approx(1.5, abs=1e-3)
    assert took[2] == pytest.approx(0.5, abs=1e-3)
    assert took[0] == pytest.approx(s.gateway.decisions[-1].latency, abs=1e-3)
    assert call.start_time <= first.start_time < first.end_time <= second.start_time < second.end_time
    assert second.end_time <= call.end_time + 1000


@every_face
def test_the_parent_is_the_span_around_the_call(face: str) -> None:
    s, told = heard({"a": ["fine"]})
    with told.inside() as outer:
        ask(face, s.gateway)
    assert told.call.parent.span_id == outer.get_span_context().span_id
    assert s.gateway.decisions[-1].trace_id == f"{outer.get_span_context().trace_id:032x}"


def test_the_parent_of_a_stream_is_the_span_around_its_making_whoever_reads_it_later() -> None:
    s, told = heard({"a": ["word after word"]})
    with told.inside() as outer:
        chunks = s.gateway.stream("fast", "hello")
    with told.inside("reader"):
        reader = threading.Thread(target=lambda: list(chunks))
        reader.start()
        reader.join()
    assert told.call.parent.span_id == outer.get_span_context().span_id


def test_the_parent_of_an_async_stream_is_the_span_around_its_making_in_whatever_task_it_is_read() -> None:
    s, told = heard({"a": ["word after word"]})

    async def main() -> Any:
        with told.inside() as outer:
            chunks = s.gateway.astream("fast", "hello")

        async def read() -> None:
            async for _ in chunks:
                pass

        await asyncio.create_task(read())
        return outer

    outer = asyncio.run(main())
    assert told.call.parent.span_id == outer.get_span_context().span_id


def looking(script: dict[str, Any], *plugins: object, **telemetry: Any) -> tuple[Gateway, Looking, Listener]:
    provider, listener = Looking(script, default=None), Listener(**telemetry)
    group = [deployment(id, provider=f"provider-{id}") for id in script]
    return Gateway(group, plugins=[listener.plugin, *plugins], transport=provider), provider, listener


@every_face
def test_an_attempts_span_is_current_while_the_provider_is_asked(face: str) -> None:
    gateway, provider, told = looking({"a": [DOWN], "b": ["fine"]})
    ask(face, gateway)
    assert provider.saw == [(span.name[-1], span.context.span_id) for span in told.attempts]


def test_where_attempts_are_events_the_calls_span_is_current() -> None:
    gateway, provider, told = looking({"a": [DOWN], "b": ["fine"]}, attempts="events")
    ask("sync", gateway)
    assert provider.saw == [(name, told.call.context.span_id) for name in "ab"]
    assert [(event.name, event.attributes["llmgate.deployment"]) for event in told.call.events] == [
        ("llmgate.attempt", "a"),
        ("llmgate.attempt", "b"),
    ]
    assert told.call.events[0].attributes["error.type"] == "overloaded"
    assert told.call.start_time <= told.call.events[0].timestamp <= told.call.end_time
    assert told.attempts == []


def test_a_call_that_is_not_sampled_still_tells_the_provider_which_trace_it_is_part_of() -> None:
    gateway, provider, told = looking({"a": ["fine"]}, sampler=ALWAYS_OFF)
    ask("sync", gateway)
    assert told.spans == []
    assert provider.saw[0][1] != 0
    assert len(gateway.decisions[-1].trace_id) == 32


@every_stream
def test_what_the_reader_of_a_stream_does_is_not_below_the_call(face: str) -> None:
    s, told = heard({"a": ["one two three"]})

    def current() -> int:
        return trace.get_current_span().get_span_context().span_id

    async def read() -> list[int]:
        return [current() async for _ in s.gateway.astream("fast", "hello")]

    with told.inside() as outer:
        seen = (
            [current() for _ in s.gateway.stream("fast", "hello")]
            if face == "stream"
            else asyncio.run(read())
        )
    assert len(seen) > 1
    assert set(seen) == {outer.get_span_context().span_id}


class Hedge:
    @hookimpl
    def limit_attempt(self, alternatives: int) -> Limits | None:
        return Limits(hedge_after=0.03) if alternatives else None


@pytest.mark.parametrize("face", ["sync", "async", *STREAMS])
def test_a_hedge_is_a_span_beside_the_attempt_that_lost(face: str) -> None:
    gateway, provider, told = looking({"a": [Slow(3.0, "late")], "b": ["soon"]}, Hedge())
    with told.inside() as outer:
        ask(face, gateway)
        assert trace.get_current_span() is outer
    lost, won = told.attempts
    assert (lost.name, lost.attributes["llmgate.attempt.status"]) == ("attempt a", "cancelled")
    assert (won.name, won.attributes["llmgate.attempt.reason"]) == ("attempt b", "hedge")
    assert lost.start_time < won.start_time
    assert lost.parent.span_id == won.parent.span_id == told.call.context.span_id
    assert provider.saw == [("a", lost.context.span_id), ("b", won.context.span_id)]


@every_stream
def test_a_stream_that_is_left_is_no_error(face: str) -> None:
    s, told = heard({"a": ["one two three four"]})
    ask(face, s.gateway, take=2)
    assert told.call.attributes["llmgate.call.status"] == "abandoned"
    assert told.call.status.status_code is StatusCode.UNSET
    assert told.attempts[0].attributes["llmgate.attempt.status"] == "abandoned"


def test_a_cancelled_task_ends_its_spans() -> None:
    gateway, provider, told = looking({"a": [Hang()]})

    async def main() -> None:
        task = asyncio.ensure_future(gateway.acomplete("fast", "hello"))
        await auntil(lambda: provider.sent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert told.call.attributes["llmgate.call.status"] == "cancelled"
    assert told.attempts[0].attributes["llmgate.attempt.status"] == "cancelled"
    assert "error.type" not in told.call.attributes


def test_a_reader_that_leaves_as_the_loop_ends_ends_its_spans() -> None:
    gateway, _, told = looking({"a": [Stream("one ", "two ", "three")]})

    async def main() -> None:
        async for _ in gateway.astream("fast", "hello"):
            break

    asyncio.run(main())
    (attempt,) = told.attempts
    assert attempt.attributes["llmgate.attempt.status"] == told.call.attributes["llmgate.call.status"]


class Deny:
    @hookimpl(tryfirst=True)
    def admit_request(self) -> None:
        raise RequestDenied("not today", code="closed")


@every_face
def test_a_denied_call_is_a_span_without_attempts(face: str) -> None:
    s, told = heard({"a": ["fine"]}, Deny())
    ask(face, s.gateway)
    assert told.attempts == []
    seen = told.call.attributes
    assert (seen["error.type"], seen["llmgate.reason"], seen["llmgate.answered_by"]) == (
        "closed",
        "closed",
        "Deny",
    )
    assert seen["gen_ai.provider.name"] == "llmgate"
    assert told.call.status.status_code is StatusCode.ERROR


class Remember:
    @hookimpl
    def admit_request(self) -> Response:
        return Response.of("known")


@every_face
def test_an_answer_of_a_plugins_is_a_span_without_attempts(face: str) -> None:
    s, told = heard({"a": ["fine"]}, Remember())
    assert ask(face, s.gateway).text == "known"
    assert told.attempts == []
    assert told.call.attributes["llmgate.call.status"] == "answered"
    assert told.call.attributes["llmgate.answered_by"] == "Remember"
    assert "gen_ai.usage.input_tokens" not in told.call.attributes


class SkipFirst:
    @hookimpl
    def begin_attempt(self, attempt: Any) -> Skip | None:
        return Skip("full") if attempt.number == 1 else None


@every_face
def test_an_attempt_that_was_never_sent_is_an_event(face: str) -> None:
    s, told = heard({"a": ["fine"], "b": ["fine"]}, SkipFirst())
    ask(face, s.gateway)
    assert [span.name for span in told.attempts] == ["attempt b"]
    (event,) = told.call.events
    assert event.attributes["llmgate.attempt.skipped"] == "full"
    assert event.attributes["llmgate.deployment"] == "a"


def test_a_failed_call_is_an_error() -> None:
    s, told = heard({"a": [ProviderError("bad", status=400)]})
    ask("sync", s.gateway)
    assert told.call.status.status_code is StatusCode.ERROR
    assert told.call.attributes["error.type"] == told.call.status.description == "invalid_request"


def test_a_model_that_nobody_knows_is_an_error_of_its_own_name() -> None:
    s, told = heard({"a": ["fine"]})
    ask("sync", s.gateway, "nobody")
    assert told.call.attributes["error.type"] == "UnknownModel"


def test_tags_of_a_callers_push_nothing_else_out_of_a_span() -> None:
    s, told = heard({"a": ["fine"]})
    tags = {f"tag {number} {'x' * 1_000}": "y" * 1_000 for number in range(500)}
    ask("sync", s.gateway, tags=tags)
    seen = told.call.attributes
    assert {"gen_ai.operation.name", "llmgate.call.id", "llmgate.call.status", "llmgate.deployment"} <= set(
        seen
    )
    tagged = [name for name in seen if name.startswith("llmgate.tag.")]
    assert 0 < len(tagged) <= 32
    assert all(len(name) <= 300 and len(seen[name]) <= 256 for name in tagged)


def test_what_a_request_asks_for_is_told() -> None:
    s, told = heard({"a": ["fine"]})
    params = {
        "max_completion_tokens": 50,
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 40,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "stop": "END",
        "seed": 7,
        "n": 2,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema"},
        "user": "not a parameter that is told",
    }
    ask("sync", s.gateway, Request(model="fast", params=params))
    seen = {
        name: value
        for name, value in told.call.attributes.items()
        if ".request." in name or ".output." in name
    }
    assert seen == {
        "gen_ai.request.model": "fast",
        "gen_ai.request.stream": False,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
    }


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": "hot", "max_tokens": float("inf"), "top_k": True, "n": "two"},
        {"stop": 5, "modalities": 7, "response_format": "json", "reasoning_effort": ["low"]},
    ],
)
def test_arguments_that_make_no_sense_are_left_out(params: dict[str, Any]) -> None:
    s, told = heard({"a": ["fine"]})
    ask("sync", s.gateway, Request(model="fast", params=params))
    asked = [name for name in told.call.attributes if ".request." in name or ".output." in name]
    assert asked == ["gen_ai.request.model", "gen_ai.request.stream"]


def test_the_trace_is_known_before_the_first_row_is_written() -> None:
    known: list[str | None] = []

    class Looks:
        @hookimpl(tryfirst=True)
        def begin_attempt(self, call: Any) -> None:
            known.append(call.record.trace_id)

    s, told = heard({"a": ["fine"]}, Looks())
    ask("sync", s.gateway)
    assert known == [f"{told.call.context.trace_id:032x}"]


def test_without_an_sdk_a_trace_from_elsewhere_is_noted() -> None:
    s = scene({"a": ["fine"]}, Telemetry())
    remote = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(remote)))
    try:
        ask("sync", s.gateway)
    finally:
        context.detach(token)
    assert s.gateway.decisions[-1].trace_id == f"{0xABC:032x}"
    ask("sync", s.gateway)
    assert s.gateway.decisions[-1].trace_id is None
    assert s.gateway.decisions[-1].problems == []


SET_UP_LATER = """
import time
from llmgate_plugins import Deployment, Gateway
from llmgate_plugins.testing import ScriptedProvider
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

gateway = Gateway([Deployment(id="a", alias="fast", provider="x", model="m")], transport=ScriptedProvider())
gateway.complete("fast", "hello")
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
time.sleep(0.11)
gateway.complete("fast", "hello")
print([span.name for span in kept.get_finished_spans()], gateway.decisions[0].trace_id)
"""


def test_an_sdk_may_be_set_up_after_the_gateway_was_used() -> None:
    ran = subprocess.run([sys.executable, "-c", SET_UP_LATER], capture_output=True, text=True, check=True)
    assert ran.stdout == "['attempt a', 'chat fast'] None\n"
    assert ran.stderr == ""


class Broken(SpanProcessor):
    def __init__(self, at: str) -> None:
        self.at = at

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.at == "start":
            raise RuntimeError("a broken processor")

    def on_end(self, span: Any) -> None:
        if self.at == "end":
            raise RuntimeError("a broken processor")


@every_face
@pytest.mark.parametrize("at", ["start", "end"])
def test_a_broken_processor_breaks_no_call(face: str, at: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Broken(at))
    s = scene({"a": [DOWN], "b": ["fine"]}, Telemetry(tracer_provider=provider))
    assert [ask(face, s.gateway).text for _ in range(2)] == ["fine", "fine"]
    assert s.books_balance()


@every_face
def test_records_that_are_kept_hold_on_to_no_span(face: str) -> None:
    s, _ = heard({"a": [DOWN], "b": ["fine"]})
    ask(face, s.gateway)
    for attempt, _ in s.gateway.decisions[-1].attempts:
        assert (attempt.around, attempt.watchers) == ([], [])


def test_spans_or_metrics_can_be_left_out() -> None:
    for kept in ("spans", "metrics"):
        s, told = heard({"a": ["fine"]}, telemetry={"spans": kept == "spans", "metrics": kept == "metrics"})
        ask("sync", s.gateway)
        assert bool(told.spans) is (kept == "spans")
        assert bool(told.metrics()) is (kept == "metrics")


@pytest.mark.parametrize(
    "options",
    [
        {"names": "old"},
        {"attempts": "rows"},
        {"metric_facts": ("team", "prompt")},
        {"metric_facts": ("extra",)},
    ],
)
def test_what_there_is_no_choice_of_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Telemetry(**options)


def test_every_gateway_has_it() -> None:
    gateway = Gateway([deployment("a")], transport=ScriptedProvider({"a": ["fine"]}))
    assert gateway.plugins[0][0] == "Telemetry"
    assert gateway.complete("fast", "hello").text == "fine"
