"""Words and messages of another provider, as an inner model's client takes them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_llmgate._leaf import Leaf
from langchain_llmgate._tools import BoundTools
from support.langchain_leaves import leaf

from llmgate_plugins import Deployment
from llmgate_plugins.foreign import tables
from llmgate_plugins.testing import SimulatedProvider

TEXT = {"type": "text", "text": "so"}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
REASONED = {"type": "reasoning", "id": "rs_1", "summary": []}
REDACTED = {"type": "redacted_thinking", "data": "AAAA"}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return word


def leaf_of(kind: str, provider: SimulatedProvider, *, named: str | None = None, **settings: Any) -> Leaf:
    model = leaf(kind, provider, **settings)
    name = settings.get("model") or getattr(model, "model_name", None) or model.model
    return Leaf(Deployment(id="d", alias="a", provider=named or kind, model=name), model)


def fitted(one: Leaf, *messages: BaseMessage) -> tuple[list[Any], list[str]]:
    changes: list[str] = []
    return [message.content for message in one.prompt(messages, changes)], changes


def said_by(provider: str, *content: Any, **fields: Any) -> AIMessage:
    return AIMessage(list(content), response_metadata={"model_provider": provider}, **fields)


def test_thoughts_of_claude_do_not_go_to_openai(provider: SimulatedProvider) -> None:
    contents, changes = fitted(
        leaf_of("openai", provider),
        HumanMessage("why?"),
        said_by("anthropic", SIGNED, REDACTED, TEXT),
        said_by("anthropic", SIGNED),
    )
    assert contents == ["why?", [TEXT]]
    assert changes == [
        "left out thinking in messages: openai does not take it",
        "left out redacted_thinking in messages: openai does not take it",
    ]


def test_what_openai_reasoned_goes_back_to_it_alone(provider: SimulatedProvider) -> None:
    message = said_by("openai", REASONED, TEXT)
    assert fitted(leaf_of("openai", provider), message) == ([[REASONED, TEXT]], [])
    assert fitted(leaf_of("anthropic", provider), message) == (
        [[TEXT]],
        ["left out reasoning in messages: anthropic does not take it"],
    )


def test_thoughts_that_nobody_signed_do_not_go_to_anthropic(provider: SimulatedProvider) -> None:
    unsigned = {"type": "thinking", "thinking": "hm"}
    contents, changes = fitted(leaf_of("anthropic", provider), said_by("deepseek", unsigned, TEXT))
    assert contents == [[TEXT]]
    assert changes == ["left out thinking in messages: anthropic does not take it"]
    assert fitted(leaf_of("anthropic", provider), said_by("anthropic", SIGNED, TEXT))[1] == []


def test_markers_are_left_out_and_told_once(provider: SimulatedProvider) -> None:
    contents, changes = fitted(leaf_of("openai", provider), SystemMessage([MARKED]), HumanMessage([MARKED]))
    assert contents == [[TEXT], [TEXT]]
    assert changes == ["left out cache_control in messages: openai does not take it"]
    assert fitted(leaf_of("anthropic", provider), SystemMessage([MARKED])) == ([[MARKED]], [])


def test_what_needs_no_change_is_the_same_object(provider: SimulatedProvider) -> None:
    messages = [HumanMessage("hi"), said_by("openai", TEXT), HumanMessage([TEXT])]
    for kind in ("openai", "anthropic", "litellm"):
        left = leaf_of(kind, provider).prompt(messages)
        assert all(after is before for after, before in zip(left, messages, strict=True))


def test_ids_that_openai_refuses_change_in_pairs(provider: SimulatedProvider) -> None:
    long = "call_" + "x" * 60
    history = [
        AIMessage("", tool_calls=[{"id": long, "name": "look_up", "args": {}}]),
        ToolMessage("a pear", tool_call_id=long),
    ]
    changes: list[str] = []
    asked, answered = leaf_of("openai", provider).prompt(history, changes)
    assert isinstance(asked, AIMessage)
    assert isinstance(answered, ToolMessage)
    assert asked.tool_calls[0]["id"] == answered.tool_call_id
    assert tables.IDS["openai"][0].fullmatch(answered.tool_call_id)
    assert changes == ["gave tool calls other ids: openai does not take theirs"]
    assert history[1].tool_call_id == long


def words(one: Leaf, **asked: Any) -> tuple[dict[str, Any], list[str]]:
    changes: list[str] = []
    return one.words(asked, changes=changes), changes


def test_a_user_is_metadata_to_anthropic(provider: SimulatedProvider) -> None:
    assert words(leaf_of("anthropic", provider), user="ann") == (
        {"metadata": {"user_id": "ann"}},
        ["user became metadata.user_id for anthropic"],
    )


def test_an_effort_is_a_budget_to_anthropic(provider: SimulatedProvider) -> None:
    one = leaf_of("anthropic", provider, model="claude-sonnet-4-6")
    given, changes = words(one, reasoning_effort="medium", max_tokens=16_000)
    assert given["thinking"] == {"type": "enabled", "budget_tokens": 8_192}
    assert changes == ["reasoning_effort became thinking of 8192 tokens for anthropic"]
    assert words(one, reasoning_effort="high", max_tokens=4_000)[0]["thinking"]["budget_tokens"] == 3_999


def test_a_model_that_only_adapts_is_told_the_effort(provider: SimulatedProvider) -> None:
    given, _ = words(leaf_of("anthropic", provider, model="claude-opus-4-8"), reasoning_effort="low")
    assert given == {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}


@pytest.mark.parametrize("beside", ["a forced tool", "a short answer", "a temperature of its own"])
def test_an_effort_is_left_out_where_anthropic_cannot_think(beside: str, provider: SimulatedProvider) -> None:
    asked: dict[str, Any] = {"reasoning_effort": "low", "max_tokens": 4_000}
    settings: dict[str, Any] = {}
    if beside == "a forced tool":
        asked |= {"tools": BoundTools([look_up]), "tool_choice": "any"}
    elif beside == "a short answer":
        asked["max_tokens"] = 500
    else:
        settings["temperature"] = 0.3
    given, changes = words(leaf_of("anthropic", provider, model="claude-sonnet-4-6", **settings), **asked)
    assert not {"thinking", "reasoning_effort"} & given.keys()
    assert changes == ["left out reasoning_effort: anthropic cannot think here"]


def test_a_server_that_may_know_a_word_gets_it_in_the_body(provider: SimulatedProvider) -> None:
    one = leaf_of("openai", provider, named="hosted_vllm")
    assert words(one, top_k=5, extra_body={"min_p": 0.1}) == ({"extra_body": {"top_k": 5, "min_p": 0.1}}, [])
    assert words(leaf_of("openai", provider), top_k=5)[0] == {}


def test_openais_other_endpoint_keeps_its_word(provider: SimulatedProvider) -> None:
    asked = {"reasoning": {"effort": "low", "summary": "auto"}}
    assert words(leaf_of("openai", provider, model="gpt-5-mini"), **asked) == (asked, [])


def test_a_change_that_is_told_already_is_not_told_again(provider: SimulatedProvider) -> None:
    changes = ["left out seed: anthropic does not take it"]
    leaf_of("anthropic", provider).words({"seed": 1}, changes=changes)
    assert changes == ["left out seed: anthropic does not take it"]
