"""Answers in blocks that have a type, as the Responses API and Anthropic's Messages have them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from litellm_llmgate.endpoints.endpoint import of, put
from llmgate_plugins.types import Message, ToolCall

__all__ = ["is_wanted", "message_of", "rewrite"]

TEXTS: Final = {"text": "text", "output_text": "text", "refusal": "refusal"}
"""Type of a block with words -> the field that holds them."""
CALLS: Final = {"tool_use": "id", "function_call": "call_id"}
"""Type of a tool call -> the field that names it."""


def message_of(blocks: Iterable[Any]) -> Message:
    """What they say."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    for block in blocks:
        kind = of(block, "type")
        if kind in TEXTS:
            texts.append(of(block, TEXTS[kind]) or "")
        elif kind in CALLS:
            calls.append(
                ToolCall(
                    id=of(block, CALLS[kind]) or "",
                    name=of(block, "name") or "",
                    arguments=of(block, "arguments") or json.dumps(of(block, "input") or {}),
                    index=len(calls),
                )
            )
    return Message(role="assistant", content="".join(texts), tool_calls=tuple(calls))


def rewrite(blocks: Iterable[Any], message: Message) -> None:
    """Have them say this: all its words where the first of them stood, and its calls as they are there."""
    words, calls = message.text, _by_id(message)
    for block in blocks:
        kind = of(block, "type")
        if kind in TEXTS:
            put(block, TEXTS[kind], words)
            words = ""
        elif kind in CALLS and (call := calls.get(of(block, CALLS[kind]))) is not None:
            put(block, "name", call.name)
            if kind == "tool_use":
                put(block, "input", json.loads(call.arguments))
            else:
                put(block, "arguments", call.arguments)


def is_wanted(block: Any, message: Message) -> bool:
    """Whether it is no tool call, or one of these."""
    kind = of(block, "type")
    return kind not in CALLS or of(block, CALLS[kind]) in _by_id(message)


def _by_id(message: Message) -> Mapping[str, ToolCall]:
    return {call.id: call for call in message.tool_calls}
