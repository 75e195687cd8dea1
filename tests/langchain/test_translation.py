"""The words of a call as each inner model takes them, and messages there and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langchain_llmgate._leaf import Leaf
from langchain_llmgate._messages import read_message, rewrite_message, write_messages
from langchain_llmgate._meter import ChunkMeter, has_content
from langchain_llmgate._tools import AnswerFormat, BoundTools, Structure
from pydantic import BaseModel
from support.langchain_leaves import LEAVES, fake, leaf
from support.values import a_request

from llmgate_plugins import Deployment, Message, ToolCall, Usage
from llmgate_plugins.testing import SimulatedProvider


@tool(extras={"cache_control": {"type": "ephemeral"}})
def look_up(word: str) -> str:
    """Look a word up."""
    return word


class City(BaseModel):
    """A city."""

    name: str


def leaf_of(kind: str, provider: SimulatedProvider, **params: Any) -> Leaf:
    deployment = Deployment(id="d", alias="a", provider=kind, model="m", params=params)
    return Leaf(deployment, leaf(kind, provider))


@pytest.mark.parametrize(
    ("choice", "openai", "anthropic"),
    [
        ("any", "required", {"type": "any"}),
        ("required", "required", {"type": "any"}),
        (True, "required", {"type": "any"}),
        ("auto", "auto", {"type": "auto"}),
        ("none", "none", {"type": "none"}),
        (
            "look_up",
            {"type": "function", "function": {"name": "look_up"}},
            {"type": "tool", "name": "look_up"},
        ),
        (
            {"type": "function", "function": {"name": "look_up"}},
            {"type": "function", "function": {"name": "look_up"}},
            {"type": "tool", "name": "look_up"},
        ),
        (
            {"type": "tool", "name": "look_up"},
            {"type": "function", "function": {"name": "look_up"}},
            {"type": "tool", "name": "look_up"},
        ),
        ({"type": "any"}, "required", {"type": "any"}),
    ],
)
def test_a_tool_choice_is_understood_in_every_shape(
    choice: Any, openai: Any, anthropic: Any, provider: SimulatedProvider
) -> None:
    asked = {"tools": BoundTools([look_up]), "tool_choice": choice}

    assert leaf_of("openai", provider).words(asked)["tool_choice"] == openai
    assert leaf_of("anthropic", provider).words(asked)["tool_choice"] == anthropic
    assert leaf_of("litellm", provider).words(asked)["tool_choice"] == openai


@pytest.mark.parametrize("kind", LEAVES)
def test_a_translation_is_made_once_per_set_of_tools(
    kind: str, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = leaf_of(kind, provider)
    made: list[Any] = []
    real = type(one.model).bind_tools
    monkeypatch.setattr(
        type(one.model),
        "bind_tools",
        lambda self, tools, **kw: (made.append(tools), real(self, tools, **kw))[1],
    )

    first = one.words({"tools": BoundTools([look_up, City])})
    second = one.words({"tools": BoundTools([look_up, City])})
    other = one.words({"tools": BoundTools([City])})

    assert len(made) == 2
    assert first["tools"] is second["tools"]
    assert len(other["tools"]) == 1


def test_plain_openai_tools_are_translated_too(provider: SimulatedProvider) -> None:
    plain = [dict(one) for one in BoundTools([City])]

    assert leaf_of("anthropic", provider).words({"tools": plain})["tools"][0]["name"] == "City"


def test_cache_markers_of_tools_stay_where_they_are_understood(provider: SimulatedProvider) -> None:
    asked = {"tools": BoundTools([look_up])}

    assert "cache_control" in repr(leaf_of("anthropic", provider).words(asked))
    assert "cache_control" not in repr(leaf_of("openai", provider).words(asked))


def test_words_that_a_client_refuses_are_left_out(provider: SimulatedProvider) -> None:
    asked = {"temperature": 0.1, "seed": 1, "thinking": {"type": "disabled"}, "top_k": 3, "n": 2}

    assert set(leaf_of("openai", provider).words(asked)) == {"temperature", "seed", "n"}
    assert set(leaf_of("anthropic", provider).words(asked)) == {"temperature", "thinking", "top_k"}
    assert Leaf(Deployment(id="d", alias="a", provider="x", model="m"), fake()).words(asked) == asked


def test_configured_parameters_are_defaults(provider: SimulatedProvider) -> None:
    one = leaf_of("openai", provider, temperature=0.3, seed=4)

    assert one.words({"temperature": 0.9}) == {"temperature": 0.9, "seed": 4}


def test_a_structure_names_itself_the_same_everywhere() -> None:
    assert Structure(City, None, {}) == Structure(City, None, {})
    assert Structure(City, None, {}) != Structure(City.model_json_schema(), None, {})
    assert Structure(City, "json_mode", {}) != Structure(City, None, {})
    assert AnswerFormat(Structure(City, None, {}))["json_schema"]["name"] == "City"
    assert AnswerFormat(Structure(City, "json_mode", {})) == {"type": "json_object"}


def test_bound_tools_are_a_plain_list_to_those_who_copy_them() -> None:
    import copy
    import pickle

    bound = BoundTools([look_up, lambda_tool])

    for twin in (copy.copy(bound), copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))):
        assert type(twin) is list
        assert twin == bound
    assert "0x" not in repr(bound)


def lambda_tool(a: int) -> int:
    """Nothing."""
    return a


# ------------------------------------------------------------ messages


MESSAGES: list[BaseMessage] = [
    SystemMessage("be kind"),
    HumanMessage("hello", name="ann"),
    HumanMessage(["plain", {"type": "text", "text": "typed"}, {"type": "image", "url": "http://x/y.png"}]),
    AIMessage(
        "", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}], additional_kwargs={"tool_calls": []}
    ),
    AIMessage([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "so"}]),
    ToolMessage("done", tool_call_id="1"),
    ChatMessage("eh", role="narrator"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.type)
def test_a_message_nobody_changed_is_the_same_object(message: BaseMessage) -> None:
    assert write_messages([read_message(message)]) == [message]
    assert rewrite_message(read_message(message)) is message
    assert rewrite_message(replace(read_message(message))) is message


def test_messages_are_read_in_the_openai_vocabulary() -> None:
    read = [read_message(message) for message in MESSAGES]

    assert [one.role for one in read] == [
        "system",
        "user",
        "user",
        "assistant",
        "assistant",
        "tool",
        "narrator",
    ]
    assert read[1].name == "ann"
    assert read[2].text == "plaintyped"
    assert read[2].content[2] == {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
    assert read[3].tool_calls == (ToolCall(id="1", name="f", arguments='{"a": 1}'),)
    assert read[5].tool_call_id == "1"


def test_a_change_is_carried_into_a_copy_and_the_rest_stays() -> None:
    image = MESSAGES[2]
    read = read_message(image)
    parts = [dict(part, text="***") if part.get("type") == "text" else part for part in read.content]  # type: ignore[union-attr]

    changed = rewrite_message(replace(read, content=tuple(parts)))

    assert changed.content == [
        {"type": "text", "text": "***"},
        {"type": "text", "text": "***"},
        {"type": "image", "url": "http://x/y.png"},
    ]
    assert image.content[0] == "plain"


def test_changed_tool_calls_leave_no_copy_of_the_old_ones() -> None:
    message = AIMessage(
        [
            {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"ssn": "555"}},
        ],
        tool_calls=[{"name": "f", "args": {"ssn": "555"}, "id": "1"}],
        additional_kwargs={"tool_calls": [{"function": {"arguments": "555"}}]},
    )

    changed: Any = rewrite_message(
        replace(read_message(message), tool_calls=(ToolCall(id="1", name="f", arguments='{"ssn": "***"}'),))
    )

    assert changed.tool_calls[0]["args"] == {"ssn": "***"}
    assert "555" not in repr(changed)
    assert "555" in repr(message)


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("system", SystemMessage),
        ("user", HumanMessage),
        ("assistant", AIMessage),
        ("tool", ToolMessage),
        ("narrator", ChatMessage),
    ],
)
def test_messages_that_a_plugin_made_up_are_new_ones(role: str, kind: type) -> None:
    (made,) = write_messages([Message(role=role, content="hi", tool_call_id="1" if role == "tool" else None)])

    assert type(made) is kind
    assert made.text == "hi"


# ------------------------------------------------------------ chunks


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (AIMessageChunk(""), False),
        (AIMessageChunk("a"), True),
        (AIMessageChunk([]), False),
        (AIMessageChunk([{"type": "text", "text": "", "index": 0}]), False),
        (AIMessageChunk([{"type": "text", "text": "a", "index": 0}]), True),
        (AIMessageChunk([{"type": "thinking", "thinking": "", "index": 0}]), False),
        (AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}]), True),
        (AIMessageChunk([{"type": "tool_use", "id": "1", "name": "f", "input": {}, "index": 0}]), True),
        (AIMessageChunk([{"type": "reasoning", "summary": [], "index": 0}]), False),
        (AIMessageChunk("", tool_call_chunks=[{"name": "f", "args": "", "id": "1", "index": 0}]), True),
        (AIMessageChunk("", additional_kwargs={"reasoning_content": "hm"}), True),
        (AIMessageChunk("", additional_kwargs={"reasoning_content": ""}), False),
        (AIMessageChunk("", response_metadata={"model_name": "m"}), False),
    ],
)
def test_only_content_commits_a_stream(message: AIMessageChunk, says: bool) -> None:
    assert has_content(message) is says


def test_a_meter_adds_reports_up_and_keeps_the_last_reason() -> None:
    meter = ChunkMeter(Leaf(Deployment(id="d", alias="a", provider="fake", model="m"), fake()), a_request())
    chunks = [
        AIMessageChunk(
            "",
            response_metadata={"model_name": "fake/m"},
            usage_metadata={
                "input_tokens": 10,
                "output_tokens": 0,
                "total_tokens": 10,
                "input_token_details": {"cache_read": 4},
            },
        ),
        AIMessageChunk("a"),
        AIMessageChunk([{"type": "text", "text": "b", "index": 0}]),
        AIMessageChunk("", usage_metadata={"input_tokens": 0, "output_tokens": 5, "total_tokens": 5}),
        AIMessageChunk("", response_metadata={"stop_reason": "end_turn"}),
    ]

    commits = [bool(meter.feed(ChatGenerationChunk(message=chunk))) for chunk in chunks[:2]]
    assert meter.finish_reason is None
    for chunk in chunks[2:]:
        meter.feed(ChatGenerationChunk(message=chunk))

    assert commits == [False, True]
    assert meter.usage == Usage(input=6, cached_input=4, output=5)
    assert meter.finish_reason == "stop"
    assert meter.model == "m"
    assert meter.text == "ab"
    assert meter.complete
    assert meter.message().text == "ab"
