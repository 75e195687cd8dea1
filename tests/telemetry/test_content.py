"""Nothing of what was said is told, unless somebody asks for it; and then without secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from support.faces import ask, every_face, every_whole
from support.telemetry import Listener, heard

from llmgate_plugins import Message, ProviderError, Request, Response, ToolCall, hookimpl
from llmgate_plugins.masking import conceal

PROMPT, ANSWER, SECRET = (
    "a-question-nobody-should-read",
    "an-answer-nobody-should-read",
    "sk-canary-0123456789",
)
VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def told_in(told: Listener) -> str:
    spans = "".join(span.to_json() for span in told.spans)
    return spans + repr(told.metrics())


@every_face
def test_by_default_nothing_that_was_said_is_told(face: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    quoting = ProviderError(f"messages[0] must not say {PROMPT}, your key is {SECRET}", status=503)
    s, told = heard({"a": [quoting], "b": [ANSWER, ProviderError(PROMPT, status=400)]})
    conceal(SECRET)
    tools = [{"type": "function", "function": {"name": "look", "description": PROMPT}}]
    request = Request(
        model="fast",
        messages=(Message(role="user", content=PROMPT),),
        params={"tools": tools, "user": PROMPT},
    )
    assert ask(face, s.gateway, request).text == ANSWER
    assert ask(face, s.gateway, request).error is not None
    assert len(told.spans) >= 4
    for word in (PROMPT, ANSWER, SECRET):
        assert word not in told_in(told)
    assert PROMPT not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("llmgate")
    )


class Shout:
    """Changes the answer; what is told must be what the caller gets."""

    @hookimpl
    def review_response(self, response: Response) -> Response:
        return Response.of(response.text.upper(), finish_reason=response.finish_reason)


@every_face
def test_what_was_said_is_told_in_the_conventions_shape_when_asked_for(face: str) -> None:
    s, told = heard({"a": ["an answer"]}, telemetry={"content": True})
    conceal(SECRET)
    request = Request(
        model="fast",
        messages=(
            Message(role="system", content="Be brief."),
            Message(
                role="user",
                content=(
                    {"type": "text", "text": f"What is this? {SECRET}"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "something_new", "payload": "left out"},
                ),
            ),
            Message(
                role="assistant", tool_calls=(ToolCall(id="c1", name="look", arguments='{"at": "cat"}'),)
            ),
            Message(role="tool", tool_call_id="c1", content="a cat"),
        ),
        params={"system": "Answer in English."},
    )
    ask(face, s.gateway, request)
    seen = told.call.attributes
    assert json.loads(seen["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "What is this? ****"},
                {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
                {"type": "blob", "modality": "image", "content": ""},
                {"type": "something_new"},
            ],
        },
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "cat"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "a cat"}]},
    ]
    assert json.loads(seen["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "an answer"}], "finish_reason": "stop"}
    ]
    assert json.loads(seen["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Answer in English."}
    ]
    assert SECRET not in told_in(told)
    assert all("messages" not in name for span in told.attempts for name in span.attributes)


@every_whole
def test_the_answer_is_told_as_the_caller_gets_it(face: str) -> None:
    s, told = heard({"a": ["an answer"]}, Shout(), telemetry={"content": True})
    ask(face, s.gateway)
    (answer,) = json.loads(told.call.attributes["gen_ai.output.messages"])
    assert answer["parts"][0]["content"] == "AN ANSWER"


@pytest.mark.parametrize(
    ("value", "content", "recorded"),
    [
        ("true", None, True),
        ("SPAN_ONLY", None, True),
        ("span_and_event", None, True),
        ("event_only", None, False),
        ("false", None, False),
        ("", None, False),
        ("true", False, False),
        ("", True, True),
    ],
)
def test_the_environment_may_ask_for_it_and_an_argument_wins(
    monkeypatch: pytest.MonkeyPatch, value: str, content: bool | None, recorded: bool
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    s, told = heard({"a": ["an answer"]}, telemetry={"content": content})
    ask("sync", s.gateway)
    assert ("gen_ai.output.messages" in told.call.attributes) is recorded


def test_a_call_without_an_answer_tells_what_was_asked() -> None:
    s, told = heard({"a": [ProviderError("bad", status=400)]}, telemetry={"content": True})
    ask("sync", s.gateway, prompt=PROMPT)
    seen: Any = told.call.attributes
    assert PROMPT in seen["gen_ai.input.messages"]
    assert "gen_ai.output.messages" not in seen
