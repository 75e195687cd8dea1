"""Anthropic's Messages."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from litellm_llmgate.endpoints import blocks
from litellm_llmgate.endpoints.endpoint import Reading, failure, of, put
from litellm_llmgate.endpoints.events import Events
from litellm_llmgate.endpoints.reports import usage_in
from llmgate_plugins.types import Chunk, Message, Response, ToolCall, Usage
from llmgate_plugins.usage import usage_from_anthropic

__all__ = ["Messages"]

_STOPS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}


class Messages:
    """`/v1/messages`."""

    def usage_in(self, answer: Any) -> Usage | None:
        """What it used, as reported."""
        return usage_in(answer)

    def message_in(self, answer: Any) -> Message:
        """What this answer says."""
        return blocks.message_of(of(answer, "content") or ())

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this instead."""
        answer = copy.deepcopy(answer)
        content = of(answer, "content") or ()
        blocks.rewrite(content, message)
        put(answer, "content", [block for block in content if blocks.is_wanted(block, message)])
        return answer

    def made(self, response: Response, model: str, name: str) -> Any:
        """A plugin's answer in this shape."""
        message, usage = response.message, response.usage or Usage()
        content: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
        content += (
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in message.tool_calls
        )
        return {
            "id": f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": response.model or model,
            "content": content,
            "stop_reason": "tool_use" if message.tool_calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": usage.total_input, "output_tokens": usage.total_output},
        }

    def reader(self) -> Callable[[Any], Reading]:
        """Reads the pieces of a stream."""
        return Events(_read).read


def _read(event: Mapping[str, Any]) -> Reading:
    kind, index = event.get("type"), event.get("index") or 0
    if kind == "message_start":
        answer = event.get("message")
        usage = usage_from_anthropic(of(answer, "usage") or {})
        yield Chunk(usage=usage, model=of(answer, "model"), id=of(answer, "id")), False
    elif kind == "content_block_start":
        block = event.get("content_block")
        if of(block, "type") == "tool_use":
            call = ToolCall(id=of(block, "id") or "", name=of(block, "name") or "", arguments="", index=index)
            yield Chunk(tool_calls=(call,)), True
    elif kind == "content_block_delta":
        delta = event.get("delta")
        arguments = of(delta, "partial_json")
        calls = (ToolCall(id="", name="", arguments=arguments, index=index),) if arguments else ()
        text, thought = of(delta, "text") or "", of(delta, "thinking") or ""
        yield Chunk(text=text, reasoning=thought, tool_calls=calls), True
    elif kind == "message_delta":
        usage = usage_from_anthropic(event.get("usage") or {})
        reason = of(event.get("delta"), "stop_reason")
        yield Chunk(usage=usage, finish_reason=_STOPS.get(reason, reason)), False
    elif kind == "message_stop":
        yield Chunk(), True
    elif kind == "error":
        raise failure(event.get("error"))
