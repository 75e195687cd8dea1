"""Guards see whole answers of endpoints of other shapes than chat's; what they make of them counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from litellm.types.llms.openai import ResponsesAPIResponse
from litellm_llmgate.endpoints import ENDPOINTS
from support.litellm_routers import entry, registered, rows

from llmgate_plugins import Request, RequestDenied, ResponseRejected, hookimpl
from llmgate_plugins.types import Message, Response, ToolCall

TOOL = ToolCall(id="call_1", name="weather", arguments='{"at": "Ulm"}')


async def asked(router: Any, endpoint: str) -> Any:
    """A whole answer of one of the endpoints."""
    if endpoint == "responses":
        return await router.aresponses(model="fast", input="hello", max_output_tokens=200)
    if endpoint == "messages":
        said = [{"role": "user", "content": "hello"}]
        return await router.aanthropic_messages(model="fast", messages=said, max_tokens=200)
    if endpoint == "generate_content":
        return await router.agenerate_content(
            model="fast", contents=[{"role": "user", "parts": [{"text": "hello"}]}]
        )
    return await router.atext_completion(model="fast", prompt="hello", max_tokens=200)


def text_of(endpoint: str, answer: Any) -> str:
    """As a client of the endpoint reads it."""
    if endpoint == "responses":
        return str(answer.output_text)
    if endpoint == "messages":
        return "".join(block["text"] for block in answer["content"])
    if endpoint == "generate_content":
        return "".join(part["text"] for part in answer["candidates"][0]["content"]["parts"])
    return str(answer.choices[0].text)


def telling(sim: Any, text: str = "my key is 1234", *plugins: object) -> Any:
    one = sim.provider("one")
    one.reply(text)
    return registered([entry("fast", "one", one, model="anthropic/claude-haiku-4-5")], *plugins)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_guard_may_refuse_the_question(sim, endpoint):
    class Guard:
        @hookimpl
        def admit_request(self, request: Request) -> None:
            if "hello" in request.messages[0].text:
                raise RequestDenied("nobody says hello", code="words")

    router, _ = telling(sim, "never sent", Guard())
    with pytest.raises(RequestDenied, match="nobody says hello"):
        await asked(router, endpoint)
    assert sim.provider("one").requests == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_guard_may_refuse_the_answer(sim, endpoint):
    class Guard:
        @hookimpl
        def review_response(self, response: Response) -> None:
            if "1234" in response.text:
                raise ResponseRejected("it names a key", code="leak")

    router, registration = telling(sim, "my key is 1234", Guard())
    with pytest.raises(ResponseRejected, match="it names a key"):
        await asked(router, endpoint)
    assert rows(registration)[0]["cost_nano_usd"] > 0


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_guard_may_change_the_answer(sim, endpoint):
    class Mask:
        @hookimpl
        def review_response(self, response: Response) -> Response:
            masked = replace(response.message, content=response.text.replace("1234", "****"))
            return response.replace(source=masked)

    router, _ = telling(sim, "my key is 1234", Mask())
    assert text_of(endpoint, await asked(router, endpoint)) == "my key is ****"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("hook", ["admit_request", "review_response"])
async def test_a_plugins_own_answer_has_the_endpoints_shape(sim, endpoint, hook):
    def answer(self) -> Response:
        return Response.of("from a plugin")

    Answering = type("Answering", (), {hook: hookimpl(answer)})
    router, _ = telling(sim, "from the model", Answering())
    assert text_of(endpoint, await asked(router, endpoint)) == "from a plugin"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_an_answer_that_nobody_changes_is_handed_on_as_it_is(sim, endpoint):
    seen = []

    class Reading:
        @hookimpl
        def review_response(self, response: Response) -> None:
            seen.append((response.text, response.native))

    router, _ = telling(sim, "hello there", Reading())
    answer = await asked(router, endpoint)
    assert seen == [("hello there", answer)]


def test_tool_calls_are_read_changed_and_taken_out():
    block = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"at": "Ulm"}}
    messages = {"content": [{"type": "text", "text": "I "}, {"type": "text", "text": "look."}, block]}
    item = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": TOOL.arguments}
    part = {"type": "output_text", "text": "I look.", "annotations": []}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    responses = ResponsesAPIResponse(id="r", created_at=1, output=[said, item])
    elsewhere = ToolCall(id="call_1", name="weather", arguments='{"at": "Bonn"}')
    parts = [
        {"text": "I look."},
        {"functionCall": {"id": "call_1", "name": "weather", "args": {"at": "Ulm"}}},
    ]
    google = {"candidates": [{"content": {"role": "model", "parts": parts}}]}
    shapes = (("messages", messages), ("responses", responses), ("generate_content", google))
    for operation, answer in shapes:
        shape = ENDPOINTS[operation]
        assert shape.message_in(answer) == Message(role="assistant", content="I look.", tool_calls=(TOOL,))
        changed = Message(role="assistant", content="Me too.", tool_calls=(elsewhere,))
        told = shape.message_in(shape.changed(answer, changed))
        assert (told.text, json.loads(told.tool_calls[0].arguments)) == ("Me too.", {"at": "Bonn"})
        bare = Message(role="assistant", content="No.")
        assert shape.message_in(shape.changed(answer, bare)) == bare
        assert shape.message_in(answer).tool_calls == (TOOL,)  # the provider's own is as it was


@pytest.mark.parametrize(
    ("told", "read", "written"),
    [
        ({"promptTokenCount": "1000", "candidatesTokenCount": "10", "thoughtsTokenCount": 5}, 1000, 15),
        ({"promptTokenCount": [1], "candidatesTokenCount": 7, "promptTokensDetails": 3}, 0, 7),
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 1,
                "promptTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": "5"},
                    {"modality": "AUDIO", "tokenCount": 3},
                ],
            },
            10,
            1,
        ),
    ],
)
def test_a_report_of_googles_that_is_odd_breaks_no_answer(told: Any, read: int, written: int) -> None:
    usage = ENDPOINTS["generate_content"].usage_in({"usageMetadata": told})
    assert usage is not None
    assert (usage.total_input, usage.total_output) == (read, written)
