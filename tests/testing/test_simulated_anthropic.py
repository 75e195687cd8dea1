"""The Anthropic wire, as the real client reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import anthropic
import pytest

from llmgate_plugins.testing import Reply, SimulatedProvider
from llmgate_plugins.types import Usage

HI: Any = [{"role": "user", "content": "Hi there"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Weather at a place",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}


def ask(client: anthropic.Anthropic, text: str = "Hi there", **params: Any) -> Any:
    params.setdefault("max_tokens", 100)
    return client.messages.create(model="claude-test", messages=[{"role": "user", "content": text}], **params)


def test_a_plain_answer_repeats_the_question_and_is_counted(claude: anthropic.Anthropic) -> None:
    answer = ask(claude)
    assert answer.content[0].text == "You said: Hi there"
    assert (answer.stop_reason, answer.model) == ("end_turn", "claude-test")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 5)


async def test_a_stream_has_every_event_in_order(async_claude: anthropic.AsyncAnthropic) -> None:
    stream = await async_claude.messages.create(model="claude-test", max_tokens=100, messages=HI, stream=True)
    events = [event async for event in stream]
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == "You said: Hi there"
    assert next(e for e in events if e.type == "message_start").message.usage.input_tokens == 5
    assert next(e for e in events if e.type == "message_delta").usage.output_tokens == 5


@pytest.mark.parametrize(
    "choice", [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "get_weather"}]
)
def test_a_tool_is_called_whole_and_streamed(claude: anthropic.Anthropic, choice: Any) -> None:
    params: Any = {"tools": [WEATHER], "tool_choice": choice}
    whole = ask(claude, "weather in Oslo", **params)
    assert (whole.stop_reason, whole.content[0].type) == ("tool_use", "tool_use")
    assert whole.content[0].input == {"location": "Oslo"}
    with claude.messages.stream(
        model="claude-test",
        max_tokens=100,
        messages=[{"role": "user", "content": "weather in Oslo"}],
        **params,
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert "input_json" in kinds
    assert final.content[0].input == {"location": "Oslo"}  # type: ignore[union-attr]


def test_after_the_tools_result_it_answers_in_words(claude: anthropic.Anthropic) -> None:
    asked = ask(claude, "weather in Oslo", tools=[WEATHER])
    answer = claude.messages.create(
        model="claude-test",
        max_tokens=100,
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "weather in Oslo"},
            {
                "role": "assistant",
                "content": [block.model_dump(exclude_none=True) for block in asked.content],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": asked.content[0].id, "content": "snow"}],
            },
        ],
    )
    assert answer.content[0].text == "The tool says: snow"  # type: ignore[union-attr]


def test_structured_output_conforms_to_its_schema(claude: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"setup": {"type": "string"}},
        "required": ["setup"],
        "additionalProperties": False,
    }
    answer = ask(claude, "A joke", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert set(json.loads(answer.content[0].text)) == {"setup"}


def test_thinking_is_shown_before_the_words(claude: anthropic.Anthropic) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(claude, thinking=thinking, max_tokens=2000)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].signature
    events = list(ask(claude, thinking=thinking, max_tokens=2000, stream=True))
    deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
    assert list(dict.fromkeys(deltas)) == ["thinking_delta", "signature_delta", "text_delta"]


def test_the_token_limit_and_stop_sequences_are_kept(claude: anthropic.Anthropic) -> None:
    cut = ask(claude, max_tokens=2)
    assert (cut.content[0].text, cut.stop_reason) == ("You said", "max_tokens")
    stopped = ask(claude, stop_sequences=[":"])
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == (
        "You said",
        "stop_sequence",
        ":",
    )


def test_cache_usage_is_told_in_its_own_buckets(
    claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.reply(Reply(text="x", usage=Usage(input=7, cached_input=50, cache_write=9, output=3)))
    usage = ask(claude).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
        7,
        50,
        9,
    )
    assert usage.output_tokens == 3


def test_limits_stand_in_the_headers_as_instants(
    claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.throttle(1, per=30)
    raw = claude.messages.with_raw_response.create(model="claude-test", max_tokens=10, messages=HI)
    reset = datetime.fromisoformat(raw.headers["anthropic-ratelimit-requests-reset"])
    assert 25 <= (reset - datetime.now(UTC)).total_seconds() <= 31
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert raw.headers["request-id"].startswith("req_")
    with pytest.raises(anthropic.RateLimitError):
        ask(claude)


def test_tokens_are_counted_without_an_answer(claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(model="claude-test", messages=HI).input_tokens == 5


def test_models_are_listed_in_anthropics_shape(claude: anthropic.Anthropic) -> None:
    assert "claude-haiku-4-5" in [model.id for model in claude.models.list()]


def test_a_refusal_of_the_model_is_a_stop_reason(
    claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    provider.reply(Reply(refusal="I will not."))
    answer = ask(claude)
    assert (answer.stop_reason, answer.content[0].text) == ("refusal", "I will not.")
