"""The shape of a request: enough to choose for it again, and nothing of its content."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import HumanMessage
from support.faces import ask, every_face
from support.gateways import scene

from llmgate_plugins.plugins import LedgerAccounting
from llmgate_plugins.shape import shape_of
from llmgate_plugins.types import LazyMessages, Message, Request, ToolCall


def test_it_measures_what_is_asked_and_says_what_matters_to_a_choice() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,CANARY"}}
    request = Request(
        model="fast",
        messages=(
            Message(role="system", content="x" * 100),
            Message(role="user", content=({"type": "text", "text": "CANARY" * 10}, picture)),
            Message(role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),)),
        ),
        params={
            "max_tokens": 50,
            "temperature": 0.1,
            "tools": [{"type": "function", "function": {"name": "CANARY"}}] * 2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "CANARY"}},
            "service_tier": "flex",
            "modalities": ["text", "audio"],
            "user": "CANARY",
        },
        fallbacks=("strong",),
        timeout=30.0,
        on_break="resume",
    )
    shape = shape_of(request)
    assert shape == {
        "messages": 3,
        "max_tokens": 50,
        "service_tier": "flex",
        "tools": 2,
        "response_format": "json_schema",
        "modalities": ["text", "audio"],
        "characters": 100 + 60 + 4_000 + 2 * 400,
        "input_tokens": (100 + 60 + 4_000 + 2 * 400) // 4,
        "parts": ["image_url"],
        "fallbacks": ["strong"],
        "timeout": 30.0,
        "on_break": "resume",
    }
    assert "CANARY" not in json.dumps(shape)


def test_messages_of_a_host_are_measured_without_being_read() -> None:
    def read(_: object) -> Message:
        raise AssertionError("read")

    native = [HumanMessage("y" * 40), {"role": "user", "content": [{"type": "file"}, "z" * 8]}, object()]
    lazily = Request(model="fast", messages=LazyMessages(native[:2], read))
    assert shape_of(lazily) == {
        "messages": 2,
        "characters": 40 + 4_000 + 8,
        "input_tokens": 10 + 1_000 + 2,
        "parts": ["file"],
    }


@pytest.mark.parametrize(("asked", "tokens"), [("abcdefgh", 2), (["abcd", "efgh"], 2), ([[1, 2]], 0)])
def test_an_embedding_is_measured_by_its_input(asked: object, tokens: int) -> None:
    request = Request(model="fast", params={"input": asked}, operation="embedding")
    assert shape_of(request) == {"messages": 0, "characters": 4 * tokens, "input_tokens": tokens}


def test_strange_requests_have_a_shape_too() -> None:
    native = [None, 5, {"content": 7}, {"content": {"text": "a" * 8}}]
    request = Request(
        model="fast",
        messages=LazyMessages(native, lambda _: Message(role="user")),
        params={"tools": 5, "modalities": 3, "response_format": dict, "max_tokens": "many", "input": 4},
    )
    assert shape_of(request)["messages"] == 4


@every_face
def test_every_record_and_every_row_of_a_call_has_it(face: str) -> None:
    gateway = scene({"a": ["yes"]}, LedgerAccounting()).gateway
    ask(face, gateway, Request(model="fast", messages=(Message(role="user", content="hello you"),)))
    (row,) = gateway.services.ledger.calls()
    (record,) = gateway.decisions
    assert (
        row["shape"]
        == dict(record.shape)
        == {
            "messages": 1,
            "characters": 9,
            "input_tokens": 3,
        }
    )
