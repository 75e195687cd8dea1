"""What the real APIs refuse is refused, with their status and their words."""

# ruff: noqa: E501 - a table reads by the row

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from llmgate_plugins.testing import SimulatedProvider

WIRE = httpx.Client(verify=False)  # loads no certificates, which takes longer than a test

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "1"}
CACHED = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}


def tool(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, **fields}}


def post_openai(
    provider: SimulatedProvider, body: Any, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return WIRE.post(
        f"{provider.openai_base_url}/chat/completions",
        headers={"authorization": "Bearer k"} if headers is None else headers,
        json=body,
    )


def post_anthropic(
    provider: SimulatedProvider, body: Any, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return WIRE.post(
        f"{provider.anthropic_base_url}/v1/messages",
        headers={"x-api-key": "k", "anthropic-version": "2023-06-01"} if headers is None else headers,
        json=body,
    )


OPENAI_REFUSES = [
    ({"messages": [USER], "model": None}, "model", "invalid_type"),
    ({"model": "m"}, "messages", "missing_required_parameter"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages[0].content[0].type", "invalid_value"),
    ({"messages": [{"role": "user", "content": [CACHED]}]}, "messages[0].content[0].cache_control", "unknown_parameter"),
    ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content", None),
    ({"messages": [USER, RESULT]}, "messages.[1].role", None),
    ({"messages": [USER, CALLED, USER]}, "messages.[2].role", None),
    ({"messages": [USER, CALLED]}, "messages.[2].role", None),
    ({"foo": 1}, "foo", "unknown_parameter"),
    ({"system": "Be nice"}, "system", "unknown_parameter"),
    ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
    ({"temperature": -1}, "temperature", "decimal_below_min_value"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_parameter_combination"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ({"tool_choice": "auto"}, "tool_choice", None),
    ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
    ({"tools": []}, "tools", "empty_array"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"tools": [tool(name="two words")]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [{**tool(), "cache_control": {}}]}, "tools[0].cache_control", "unknown_parameter"),
    ({"tools": [tool(parameters={"type": "array"})]}, "tools[0].function.parameters", "invalid_function_parameters"),
    ({"tools": [tool(parameters={"type": "object", "properties": {}}, strict=True)]}, "tools[0].function.parameters", "invalid_function_parameters"),
    ({"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", None),
    ({"tools": [tool()], "tool_choice": "any"}, "tool_choice", "invalid_value"),
    ({"response_format": {"type": "json_object"}}, "messages", None),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}}}}, "response_format", None),
]  # fmt: skip


@pytest.mark.parametrize(("change", "param", "code"), OPENAI_REFUSES, ids=lambda value: str(value)[:40])
def test_openai_refuses_it(provider: SimulatedProvider, change: Any, param: str, code: str | None) -> None:
    body = {"model": "m", "messages": [USER], **change}
    if set(change) == {"model"}:
        body.pop("messages")
    answer = post_openai(provider, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)
    assert error["message"]
    assert (provider.requests[0].outcome, provider.requests[0].status) == ("refused", 400)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [USER, CALLED, RESULT]},
        {"messages": [USER, CALLED, RESULT, USER]},
        {"messages": [{"role": "developer", "content": "Be nice"}, {**USER, "name": "bob"}]},
        {"messages": [USER, USER, {"role": "assistant", "content": "Yes"}]},
        {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [tool(parameters={"type": "object", "properties": {}, "additionalProperties": False}, strict=True)]},
        {"stream": False, "seed": 1, "user": "u", "logprobs": True, "metadata": {"a": "b"}, "store": False},
        {"temperature": 0, "top_p": 1, "reasoning_effort": "low", "service_tier": "auto", "stop": None},
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_openai_accepts_it(provider: SimulatedProvider, change: Any) -> None:
    answer = post_openai(provider, {"model": "m", "messages": [USER], **change})
    assert answer.status_code == 200, answer.text


USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
USED = {"role": "assistant", "content": [USE]}
USE_RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}

ANTHROPIC_REFUSES = [
    ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages.0.role: Input should be 'user', 'assistant'"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "text content blocks must be non-empty"),
    ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages.0.content.0: Input tag 'sound'"),
    ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages.0: the first message must use the \"user\" role"),
    ({"messages": [USER, USE_RESULT]}, "messages.1.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
    ({"messages": [USER, USED, USER]}, "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    ({"messages": [USER, USED]}, "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    ({"messages": [{"role": "user", "content": [USE]}]}, "`tool_use` blocks can only be in `assistant` messages"),
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"stop": ["x"]}, "stop: Extra inputs are not permitted"),
    ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ({"tools": [{"name": "f"}]}, "tools.0.input_schema: Field required"),
    ({"tools": [{"name": "two words", "input_schema": {"type": "object"}}]}, "tools.0.custom.name: String should match"),
    ({"tools": [{"name": "f", "input_schema": {"type": "array"}}]}, "tools.0.input_schema.type: Input should be 'object'"),
    ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    ({"tool_choice": {"type": "auto"}}, "tool_choice may only be specified while providing tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "Tool 'g' not found in provided tools"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "`max_tokens` must be greater than"),
    ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens: Input should be greater"),
    ({"max_tokens": 4000, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "`temperature` may only be set to 1"),
    ({"max_tokens": 4000, "tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "Thinking may not be enabled when tool_choice forces tool use."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), ANTHROPIC_REFUSES, ids=lambda value: str(value)[:40])
def test_anthropic_refuses_it(provider: SimulatedProvider, change: Any, words: str) -> None:
    answer = post_anthropic(provider, {"model": "m", "max_tokens": 9, "messages": [USER], **change})
    body = answer.json()
    assert (answer.status_code, body["type"], body["error"]["type"]) == (
        400,
        "error",
        "invalid_request_error",
    )
    assert words in body["error"]["message"]
    assert body["request_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [USER, USED, USE_RESULT]},
        {"messages": [USER, USER, {"role": "assistant", "content": "Yes"}, USER]},
        {"messages": [{"role": "user", "content": [CACHED]}], "system": [CACHED]},
        {"tools": [{**TOOL, "strict": True, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"top_k": 5, "metadata": {"user_id": "u"}, "stop_sequences": [], "service_tier": "auto"},
    ],
    ids=lambda value: str(value)[:40],
)
def test_anthropic_accepts_it(provider: SimulatedProvider, change: Any) -> None:
    answer = post_anthropic(provider, {"model": "m", "max_tokens": 9, "messages": [USER], **change})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module", autouse=True)
def closed_in_the_end() -> Iterator[None]:
    yield
    WIRE.close()


def test_openai_wants_a_key_and_json(provider: SimulatedProvider) -> None:
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Basic abc"}):
        answer = post_openai(provider, {"model": "m", "messages": [USER]}, headers)
        assert answer.status_code == 401
        assert "You didn't provide an API key" in answer.json()["error"]["message"]
    answer = WIRE.post(
        f"{provider.openai_base_url}/chat/completions",
        headers={"authorization": "Bearer k"},
        content=b"{not json",
    )
    assert answer.status_code == 400
    assert "could not parse the JSON body" in answer.json()["error"]["message"]


def test_anthropic_wants_a_key_and_its_version(provider: SimulatedProvider) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [USER]}
    keyless = post_anthropic(provider, body, {"anthropic-version": "2023-06-01"})
    assert (keyless.status_code, keyless.json()["error"]["type"]) == (401, "authentication_error")
    versionless = post_anthropic(provider, body, {"x-api-key": "k"})
    assert versionless.status_code == 400
    assert versionless.json()["error"]["message"] == "anthropic-version: header is required"
    by_token = post_anthropic(
        provider, body, {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}
    )
    assert by_token.status_code == 200


def test_a_refused_request_uses_up_no_step_of_the_script(provider: SimulatedProvider) -> None:
    provider.script("scripted")
    assert post_openai(provider, {"model": "m", "messages": []}).status_code == 400
    answer = post_openai(provider, {"model": "m", "messages": [USER]})
    assert answer.json()["choices"][0]["message"]["content"] == "scripted"
