"""Streams of endpoints of other shapes than chat's are calls like any other."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import litellm
import pytest
from litellm.responses.streaming_iterator import BaseResponsesAPIStreamingIterator
from litellm_llmgate.endpoints import ENDPOINTS
from litellm_llmgate.endpoints.meter import EndpointMeter
from support.litellm_routers import ends, entry, registered, rows
from support.patience import auntil

from llmgate_plugins import ProviderError, RequestDenied, StreamInterrupted, hookimpl
from llmgate_plugins.plugins import Budget, Limits
from llmgate_plugins.testing import Fault
from llmgate_plugins.types import Response, ToolCall

CLAUDE = "anthropic/claude-haiku-4-5"
WORDS = 40
STORY = "word " * WORDS
TELL_NO_USAGE = ("text", "generate_content")
"""Where LiteLLM does not pass on what Anthropic says of a stream's usage."""


async def opened(router: Any, endpoint: str, said: str = "hello") -> Any:
    """A stream of one of the endpoints."""
    if endpoint == "responses":
        return await router.aresponses(model="fast", input=said, stream=True, max_output_tokens=200)
    if endpoint == "messages":
        asked = [{"role": "user", "content": said}]
        return await router.aanthropic_messages(model="fast", messages=asked, max_tokens=200, stream=True)
    if endpoint == "generate_content":
        contents = [{"role": "user", "parts": [{"text": said}]}]
        return await router.agenerate_content_stream(
            model="fast", contents=contents, config={"maxOutputTokens": 200}
        )
    return await router.atext_completion(model="fast", prompt=said, max_tokens=200, stream=True)


def claude(group: str, id: str, provider: Any) -> dict[str, Any]:
    return entry(group, id, provider, model=CLAUDE)


def telling(sim, name):
    provider = sim.provider(name)
    provider.reply(STORY)
    return provider


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_stream_is_booked_with_what_it_brought(sim, endpoint):
    router, registration = registered([claude("fast", "one", telling(sim, "one"))])
    stream = await opened(router, endpoint)
    assert [piece async for piece in stream]
    (row,) = rows(registration)
    assert (row["status"], row["operation"], row["stream"]) == ("success", endpoint, True)
    assert row["output_tokens"] >= WORDS - 5
    assert row["cost_nano_usd"] > WORDS * 1000
    assert row["estimated"] is (endpoint in TELL_NO_USAGE)
    assert stream._hidden_params["llmgate"]["deployment"] == "one"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_stream_that_is_left_is_booked_with_what_was_delivered(sim, endpoint):
    provider = telling(sim, "one")
    provider.pace(piece=0.05)
    router, registration = registered([claude("fast", "one", provider)])
    stream = await opened(router, endpoint)
    seen = ""
    async for piece in stream:
        seen += str(piece)
        if seen.count("word") >= 10:
            break
    await stream.aclose()
    await auntil(lambda: rows(registration)[0]["status"] != "intent")
    (row,) = rows(registration)
    assert row["status"] == "abandoned"
    assert 5 <= row["output_tokens"] < WORDS
    assert row["estimated"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_what_fails_before_any_content_is_asked_elsewhere(sim, endpoint):
    dead = sim.provider("dead")
    dead.fail_always(Fault("server"))
    router, registration = registered(
        [claude("fast", "dead", dead), claude("strong", "alive", telling(sim, "alive"))],
        fallbacks=[{"fast": ["strong"]}],
    )
    pieces = [piece async for piece in await opened(router, endpoint)]
    assert "word" in str(pieces)
    assert ends(registration)[-1] == ("alive", "success")
    assert {status for _, status in ends(registration)[:-1]} == {"error"}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_budget_is_spent_by_streams(sim, endpoint):
    router, registration = registered(
        [claude("fast", "one", telling(sim, "one"))],
        Limits([Budget("team", limit=1_200_000, window=86_400)]),
    )

    async def read_often() -> None:
        for _ in range(9):
            assert [piece async for piece in await opened(router, endpoint)]

    with pytest.raises(RequestDenied, match="is used up"):
        await read_often()
    spent = sum(row["cost_nano_usd"] for row in rows(registration))
    assert WORDS * 1000 < spent <= 1_200_000


async def breaks_and_is_booked(stream: Any, registration: Any) -> None:
    """It ends with an error after some content, and is booked as one that delivered that."""
    seen: list[str] = []

    async def read() -> None:
        async for piece in stream:
            seen.append(str(piece))

    with pytest.raises(StreamInterrupted):
        await read()
    assert "word" in "".join(seen)
    (row,) = rows(registration)
    assert row["status"] == "error"
    assert 0 < row["output_tokens"] < WORDS


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_stream_that_breaks_ends_with_an_error_and_is_booked_as_one(sim, endpoint):
    provider = telling(sim, "one")
    provider.pace(piece=0.02)
    provider.fail_always(Fault("reset_midstream"))
    other = sim.provider("other")
    router, registration = registered(
        [claude("fast", "one", provider), claude("strong", "other", other)], fallbacks=[{"fast": ["strong"]}]
    )
    await breaks_and_is_booked(await opened(router, endpoint), registration)
    assert other.requests == []


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [*((one, "error_event") for one in ENDPOINTS), ("messages", "truncated"), ("responses", "truncated")],
)
async def test_an_answer_that_failed_on_its_way_is_no_success(sim, endpoint, fault):
    """LiteLLM makes the others of chat, and ends a stream that was cut as if it were whole."""
    provider = telling(sim, "one")
    provider.fail_always(Fault(fault, after=12))
    router, registration = registered([claude("fast", "one", provider)])
    await breaks_and_is_booked(await opened(router, endpoint), registration)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_one_that_fails_before_any_content_is_asked_elsewhere(sim, endpoint):
    dead = sim.provider("dead")
    dead.fail_always(Fault("error_event", after=0))
    router, registration = registered(
        [claude("fast", "dead", dead), claude("strong", "alive", telling(sim, "alive"))],
        fallbacks=[{"fast": ["strong"]}],
    )
    pieces = [piece async for piece in await opened(router, endpoint)]
    assert "word" in str(pieces)
    assert ends(registration)[-1] == ("alive", "success")
    assert {status for _, status in ends(registration)[:-1]} == {"error"}


async def test_a_guard_sees_what_was_streamed(sim):
    seen = []

    class Guard:
        @hookimpl
        def review_response(self, response: Response) -> None:
            seen.append(response.text)

    router, _ = registered([claude("fast", "one", telling(sim, "one"))], Guard())
    for endpoint in ENDPOINTS:
        assert [piece async for piece in await opened(router, endpoint)]
    assert [text.split() for text in seen] == [STORY.split()] * len(ENDPOINTS)


async def test_a_stream_of_responses_is_litellms_kind_of_stream(sim):
    router, _ = registered([claude("fast", "one", telling(sim, "one"))])
    stream = await opened(router, "responses")
    assert isinstance(stream, BaseResponsesAPIStreamingIterator)
    assert copy.copy(stream) is not stream
    events = [event async for event in stream]
    assert stream.completed_response is events[-1]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_plugin_that_answers_a_stream_by_itself_is_told_that_it_cannot(sim, endpoint):
    class Answering:
        @hookimpl
        def admit_request(self) -> Response:
            return Response.of("hello")

    provider = telling(sim, "one")
    router, _ = registered([claude("fast", "one", provider)], Answering())
    with pytest.raises(litellm.ServiceUnavailableError, match=f"'{endpoint}' by itself"):
        await opened(router, endpoint)
    assert not provider.requests


# ------------------------------------------------------------ what the pieces say


def test_events_of_the_responses_api_are_read_as_text_calls_and_usage():
    meter = EndpointMeter("responses")
    item = {"type": "function_call", "call_id": "call_1", "name": "weather"}
    fed = [
        meter.feed(event)
        for event in (
            {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4o"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm."},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "It is "},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "sunny."},
            {"type": "response.output_item.added", "output_index": 2, "item": item},
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"at":'},
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '"Ulm"}'},
            {
                "type": "response.completed",
                "response": SimpleNamespace(
                    usage={
                        "input_tokens": 90,
                        "input_tokens_details": {"cached_tokens": 30},
                        "output_tokens": 12,
                        "output_tokens_details": {"reasoning_tokens": 2},
                    },
                    service_tier="flex",
                ),
            },
        )
    ]
    assert fed == [False, False, *[True] * 7]
    assert (meter.model, meter.id, meter.finish_reason) == ("gpt-4o", "resp_1", "stop")
    assert meter.text == 'It is sunny.weather{"at":"Ulm"}'
    assert meter.message().text == "It is sunny."
    (call,) = meter.message().tool_calls
    assert call == ToolCall(id="call_1", name="weather", arguments='{"at":"Ulm"}', index=2)
    usage = meter.usage
    assert (usage.input, usage.cached_input, usage.output, usage.reasoning, usage.tier) == (
        *(60, 30, 10, 2),
        "flex",
    )


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_of_messages_are_read_wherever_they_are_cut(size):
    events = [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "model": "claude",
                "usage": {"input_tokens": 9, "cache_read_input_tokens": 50, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße"}},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"at":"Ulm"}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    ]
    wire = "".join(
        f"event: {one['type']}\ndata: {json.dumps(one, ensure_ascii=False)}\n\n" for one in events
    ).encode()
    meter = EndpointMeter("messages")
    for at in range(0, len(wire), size):
        meter.feed(wire[at : at + size])
    assert meter.message().text == "Grüße"
    assert meter.message().tool_calls[0].arguments == '{"at":"Ulm"}'
    assert (meter.model, meter.id, meter.finish_reason) == ("claude", "msg_1", "tool_calls")
    assert (meter.usage.input, meter.usage.cached_input, meter.usage.output) == (9, 50, 20)


def test_events_of_google_are_read_with_what_was_thought_and_cached():
    parts = [{"text": "Hm.", "thought": True}, {"text": "Sunny."}]
    call = {"functionCall": {"name": "weather", "args": {"at": "Ulm"}}}
    used = {"promptTokenCount": 90, "cachedContentTokenCount": 30, "candidatesTokenCount": 10}
    events = [
        {"candidates": [{"content": {"parts": parts}}], "modelVersion": "gemini", "responseId": "r1"},
        {
            "candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}],
            "usageMetadata": {**used, "thoughtsTokenCount": 5, "totalTokenCount": 105},
        },
    ]
    meter = EndpointMeter("generate_content")
    for event in events:
        assert meter.feed(f"data: {json.dumps(event)}\r\n\r\n".encode())
    assert (meter.message().text, meter.message().tool_calls[0].arguments) == ("Sunny.", '{"at": "Ulm"}')
    assert (meter.model, meter.id, meter.finish_reason) == ("gemini", "r1", "stop")
    usage = meter.usage
    assert (usage.input, usage.cached_input, usage.output, usage.reasoning) == (60, 30, 10, 5)


@pytest.mark.parametrize(
    ("endpoint", "event", "status", "code"),
    [
        (
            "responses",
            SimpleNamespace(
                type="response.failed", response={"error": {"code": "server_error", "message": "Ill."}}
            ),
            None,
            "server_error",
        ),
        (
            "responses",
            {"type": "error", "code": "rate_limit_exceeded", "message": "Ill."},
            None,
            "rate_limit_exceeded",
        ),
        (
            "messages",
            {"type": "error", "error": {"type": "overloaded_error", "message": "Ill."}},
            None,
            "overloaded_error",
        ),
        (
            "generate_content",
            {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Ill."}},
            503,
            "UNAVAILABLE",
        ),
    ],
)
def test_events_that_tell_of_a_failure_are_failures(endpoint, event, status, code):
    with pytest.raises(ProviderError, match="Ill") as raised:
        EndpointMeter(endpoint).feed(event)
    assert (raised.value.status_code, raised.value.code) == (status, code)
