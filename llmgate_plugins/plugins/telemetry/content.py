"""What was said, as JSON in the shape of the GenAI conventions, for those who ask for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmgate_plugins.masking import scrub
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.types import Message, Request, Response

__all__ = ["asked_for", "content_attributes"]

VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable by which instrumentations of GenAI clients are told to record content."""
_ON_SPANS: Final = ("true", "1", "span_only", "span_and_event")

_MEDIA: Final = {"image_url": "image", "input_audio": "audio", "file": "document", "video_url": "video"}
_FINISH_REASONS: Final = {"tool_calls": "tool_call"}


def asked_for() -> bool:
    """Whether the environment asks for content."""
    return os.environ.get(VARIABLE, "").strip().lower() in _ON_SPANS


def content_attributes(request: Request, response: Response | None) -> dict[str, str]:
    """The conversation, the instructions that stand apart from it, and the answer; secrets masked.

    Pictures, sound and files are left out: it is only said that they were there.
    """
    found: dict[str, Any] = {}
    if request.messages:
        found[n.INPUT_MESSAGES] = [_message(one) for one in request.messages]
    instructions = [
        *_instructions(request.params.get("system")),
        *_instructions(request.params.get("instructions")),
    ]
    if instructions:
        found[n.SYSTEM_INSTRUCTIONS] = instructions
    if response is not None:
        reason = response.finish_reason or "stop"
        answer = {**_message(response.message), "finish_reason": _FINISH_REASONS.get(reason, reason)}
        found[n.OUTPUT_MESSAGES] = [answer]
    return {name: scrub(json.dumps(value, ensure_ascii=False, default=str)) for name, value in found.items()}


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        answer = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}
        return {"role": "tool", "parts": [answer]}
    return {"role": message.role, "parts": list(_parts(message))}


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if isinstance(message.content, str):
        if message.content:
            yield {"type": "text", "content": message.content}
    else:
        yield from map(_part, message.content)
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call.id, "name": call.name, "arguments": _arguments(call.arguments)}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": "text", "content": str(part.get("text", ""))}
    modality = _MEDIA.get(kind)
    if modality is None:
        return {"type": kind}
    inner = part.get(kind)
    address = inner.get("url") if isinstance(inner, Mapping) else inner
    if isinstance(address, str) and not address.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": address}
    return {"type": "blob", "modality": modality, "content": ""}


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _instructions(value: Any) -> Iterator[dict[str, str]]:
    """Instructions that came as an argument of their own: text, or parts with text."""
    parts = (value,) if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            yield {"type": "text", "content": text}
