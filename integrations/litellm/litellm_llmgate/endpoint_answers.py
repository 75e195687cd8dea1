"""Whole answers of endpoints of other shapes than chat's: read, changed and made."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

from litellm.types.llms.openai import ResponsesAPIResponse
from litellm.types.utils import TextCompletionResponse

from litellm_llmgate.google_shape import of
from llmgate_plugins.types import Message, Response, ToolCall, Usage

__all__ = ["ENDPOINTS", "changed_answer", "made_answer", "message_in"]

ENDPOINTS: Final = frozenset({"generate_content", "messages", "responses", "text"})
"""Operations whose answers have words, and another shape than chat's."""

_TEXTS: Final = {"text": "text", "output_text": "text", "refusal": "refusal"}
"""Type of a piece with words -> the field that holds them."""
_BARE: Final = frozenset({"generate_content", "text"})
"""Where what is said has no type."""
_CALLS: Final = {"tool_use": "id", "function_call": "call_id"}
"""Type of a tool call -> the field that names it."""


def message_in(operation: str, answer: Any) -> Message:
    """What this answer says."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    for piece in _pieces(operation, answer):
        kind = of(piece, "type")
        asked = of(piece, "functionCall")
        if asked is not None:
            arguments = json.dumps(of(asked, "args") or {})
            name = of(asked, "name") or ""
            calls.append(ToolCall(id=of(asked, "id") or "", name=name, arguments=arguments, index=len(calls)))
        elif kind in _CALLS:
            calls.append(
                ToolCall(
                    id=of(piece, _CALLS[kind]) or "",
                    name=of(piece, "name") or "",
                    arguments=of(piece, "arguments") or json.dumps(of(piece, "input") or {}),
                    index=len(calls),
                )
            )
        elif kind in _TEXTS or operation in _BARE:
            texts.append(of(piece, _TEXTS.get(kind, "text")) or "")
    return Message(role="assistant", content="".join(texts), tool_calls=tuple(calls))


def changed_answer(operation: str, answer: Any, message: Message) -> Any:
    """The answer, saying this instead: all its words where the first of them stood, and only these calls."""
    answer = copy.deepcopy(answer)
    words, calls = message.text, {call.id: call for call in message.tool_calls}
    for piece in _pieces(operation, answer):
        kind, asked = of(piece, "type"), of(piece, "functionCall")
        if asked is not None:
            for wanted in message.tool_calls:
                if wanted.name == of(asked, "name"):
                    _put(asked, "args", json.loads(wanted.arguments))
        elif kind in _TEXTS or (operation in _BARE and of(piece, "text") is not None):
            _put(piece, _TEXTS.get(kind, "text"), words)
            words = ""
        elif kind in _CALLS and (call := calls.get(of(piece, _CALLS[kind]))) is not None:
            _put(piece, "name", call.name)
            told = json.loads(call.arguments) if kind == "tool_use" else call.arguments
            _put(piece, "input" if kind == "tool_use" else "arguments", told)
    place = {"messages": "content", "responses": "output"}.get(operation)
    if place is not None:
        kept = [
            one
            for one in of(answer, place) or ()
            if of(one, "type") not in _CALLS or of(one, _CALLS[of(one, "type")]) in calls
        ]
        _put(answer, place, kept)
    elif operation == "generate_content":
        names = {call.name for call in message.tool_calls}
        for one in list(of(answer, "candidates") or ())[:1]:
            parts = of(of(one, "content"), "parts") or ()
            kept = [part for part in parts if of(of(part, "functionCall"), "name") in (None, *names)]
            _put(of(one, "content"), "parts", kept)
    return answer


def made_answer(operation: str, response: Response, model: str) -> Any:
    """A plugin's answer in the shape of this endpoint."""
    message, usage = response.message, response.usage or Usage()
    name, served, now = uuid.uuid4().hex, response.model or model, int(time.time())
    if operation == "text":
        choice = {"text": message.text, "index": 0, "finish_reason": response.finish_reason or "stop"}
        told = {
            "prompt_tokens": usage.total_input,
            "completion_tokens": usage.total_output,
            "total_tokens": usage.total,
        }
        return TextCompletionResponse(
            id=f"cmpl-{name}", created=now, model=served, choices=[choice], usage=told
        )
    if operation == "generate_content":
        parts: list[dict[str, Any]] = [{"text": message.text}] if message.text else []
        parts += (
            {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}
            for call in message.tool_calls
        )
        content = {"role": "model", "parts": parts}
        spent = {
            "promptTokenCount": usage.total_input,
            "candidatesTokenCount": usage.total_output,
            "totalTokenCount": usage.total,
        }
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": spent,
            "modelVersion": served,
        }
    counted = {"input_tokens": usage.total_input, "output_tokens": usage.total_output}
    if operation == "messages":
        blocks: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
        blocks += (
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in message.tool_calls
        )
        return {
            "id": f"msg_{name}",
            "type": "message",
            "role": "assistant",
            "model": served,
            "content": blocks,
            "stop_reason": "tool_use" if message.tool_calls else "end_turn",
            "stop_sequence": None,
            "usage": counted,
        }
    part = {"type": "output_text", "text": message.text, "annotations": []}
    items: list[dict[str, Any]] = [
        {
            "type": "message",
            "id": f"msg_{name}",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
    ]
    items += (
        {
            "type": "function_call",
            "id": f"fc_{name}_{call.index}",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in message.tool_calls
    )
    return ResponsesAPIResponse(
        id=f"resp_{name}",
        created_at=now,
        model=served,
        object="response",
        status="completed",
        output=items,
        usage={**counted, "total_tokens": usage.total},
        parallel_tool_calls=True,
        tool_choice="auto",
        tools=[],
        temperature=None,
        top_p=None,
        error=None,
        incomplete_details=None,
        instructions=None,
        metadata={},
    )


def _pieces(operation: str, answer: Any) -> Iterator[Any]:
    """Everything in the answer that is said or asked for. Of several choices the first."""
    if operation == "text":
        yield from list(of(answer, "choices") or ())[:1]
    elif operation == "messages":
        yield from of(answer, "content") or ()
    elif operation == "generate_content":
        for one in list(of(answer, "candidates") or ())[:1]:
            yield from (part for part in of(of(one, "content"), "parts") or () if not of(part, "thought"))
    else:
        for item in of(answer, "output") or ():
            if of(item, "type") == "message":
                yield from of(item, "content") or ()
            else:
                yield item


def _put(thing: Any, name: str, value: Any) -> None:
    if isinstance(thing, dict):
        thing[name] = value
    else:
        setattr(thing, name, value)
