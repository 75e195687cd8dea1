"""An answer as bytes, and back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any, Final

from llmgate_plugins.types import Message, Response, ToolCall, Usage

__all__ = ["from_bytes", "to_bytes"]

VERSION: Final = 2
"""Of this form. Another version's results are not read."""


def to_bytes(response: Response, fingerprint: str, made_by: str | None) -> bytes | None:
    """The answer with what it answers and who made it; None if it holds what JSON cannot say."""
    message = response.message
    told = {
        "version": VERSION,
        "fingerprint": fingerprint,
        "content": message.content,
        "tool_calls": [asdict(call) for call in message.tool_calls],
        "usage": asdict(replace(response.usage, iterations=())) if response.usage is not None else None,
        "finish_reason": response.finish_reason,
        "model": response.model,
        "made_by": made_by,
        "begun_by": response.begun_by,
        "empty": response.empty,
    }
    try:
        return json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        return None


def from_bytes(kept: bytes) -> tuple[str, Response] | None:
    """(fingerprint, answer); None if it is not one of ours."""
    try:
        told: dict[str, Any] = json.loads(kept)
        if told["version"] != VERSION:
            return None
        content = told["content"]
        message = Message(
            role="assistant",
            content=content if isinstance(content, str) else tuple(content),
            tool_calls=tuple(ToolCall(**call) for call in told["tool_calls"]),
        )
        usage = told["usage"]
        answer = Response(
            source=message,
            usage=Usage(**{**usage, "iterations": ()}) if usage is not None else None,
            finish_reason=told["finish_reason"],
            model=told["model"],
            deployment_id=told["made_by"],
            begun_by=tuple(told.get("begun_by") or ()),
            empty=told["empty"],
        )
        return str(told["fingerprint"]), answer
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
