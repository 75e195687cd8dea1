"""Tokens of a request and of delivered text, counted by their characters: it costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.types import Request, Usage
from llmgate_plugins.usage.attachments import ATTACHMENT_TOKENS
from llmgate_plugins.usage.disjoint import MOST_TOKENS

__all__ = ["estimate_beside", "estimate_tokens", "estimate_usage", "read_beside"]

_READ: Final = ("tools", "functions", "response_format", "input", "prompt", "system", "instructions")
"""Parameters that a model reads, beside the messages."""

_SAID_TWICE: Final = {
    **dict.fromkeys(("moderation", "responses", "speech"), "input"),
    **dict.fromkeys(
        ("image_edit", "image_generation", "text", "transcription", "video_generation"), "prompt"
    ),
}
"""Operation -> the one of them that the messages say already."""

_CHARACTERS_PER_TOKEN: Final = 4


def estimate_tokens(text_length: int) -> int:
    """Tokens of a text with this many characters: a quarter of them, rounded up.

    Right within about a fifth for English prose; too few for code, and for Chinese or
    Japanese by up to four times. It reads nothing, loads nothing and takes no time.
    """
    return -(-text_length // _CHARACTERS_PER_TOKEN) if text_length > 0 else 0


def estimate_usage(request: Request, delivered_chars: int) -> Usage:
    """Usage of an attempt whose provider reported none, marked as estimated.

    Counts the text of all messages, tool calls, tool definitions, instructions and the
    response format; an attachment counts as `ATTACHMENT_TOKENS`.

    Args:
        request: What was sent.
        delivered_chars: Characters of the answer that arrived; 0 before sending.
    """
    characters = attachments = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            characters += len(content)
        else:
            for part in content:
                text = part.get("text")
                characters += len(text) if isinstance(text, str) else 0
                attachments += not isinstance(text, str)
        for call in message.tool_calls:
            characters += len(call.name) + len(call.arguments)
    characters += sum(map(_length, read_beside(request, request.params)))
    read = min(estimate_tokens(characters) + attachments * ATTACHMENT_TOKENS, MOST_TOKENS)
    return Usage(
        input=max(read, 1), output=min(estimate_tokens(delivered_chars), MOST_TOKENS), estimated=True
    )


def read_beside(request: Request, params: Mapping[str, Any]) -> Iterator[Any]:
    """What of these parameters a model reads beside the request's messages."""
    twice = _SAID_TWICE.get(request.operation) if request.messages else None
    for name in _READ:
        if name in params and name != twice:
            yield params[name]


def estimate_beside(request: Request) -> int:
    """Tokens of what a model reads beside the messages; of an embedding, that is all of it."""
    return estimate_tokens(sum(map(_length, read_beside(request, request.params))))


def _length(value: Any, depth: int = 8) -> int:
    """Characters of a JSON-like value, its punctuation included, roughly."""
    if isinstance(value, str):
        return len(value) + 2
    if depth == 0:
        return 0
    if isinstance(value, Mapping):
        return sum(len(str(key)) + 4 + _length(item, depth - 1) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return sum(1 + _length(item, depth - 1) for item in value)
    return 4
