"""Tokens of a request and of delivered text, counted by their characters: it costs next to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.types import Request, Usage
from llmgate_plugins.usage.disjoint import MOST_TOKENS

__all__ = ["ATTACHMENT_TOKENS", "MOST_ATTACHMENT_TOKENS", "estimate_tokens", "estimate_usage", "most_input"]

ATTACHMENT_TOKENS = 1_000
"""What an image, a sound or a file in a message is estimated at: the order of a large image."""

MOST_ATTACHMENT_TOKENS = 2_000
"""What an image or a file is at most expected to take."""

_CHARACTERS_PER_TOKEN: Final = 4


def estimate_tokens(text_length: int) -> int:
    """Tokens of a text with this many characters: a quarter of them, rounded up.

    Right within about a fifth for English prose; too few for code, and for Chinese or
    Japanese by up to four times. It reads nothing, loads nothing and takes no time.
    """
    return -(-text_length // _CHARACTERS_PER_TOKEN) if text_length > 0 else 0


def estimate_usage(request: Request, delivered_chars: int) -> Usage:
    """Usage of an attempt whose provider reported none, marked as estimated.

    Counts the text of all messages, tool calls, tool definitions and the response
    format; an attachment counts as `ATTACHMENT_TOKENS`.

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
    for name in ("tools", "functions", "response_format", "input", "prompt"):
        if name in request.params:
            characters += _length(request.params[name])
    read = min(estimate_tokens(characters) + attachments * ATTACHMENT_TOKENS, MOST_TOKENS)
    return Usage(
        input=max(read, 1), output=min(estimate_tokens(delivered_chars), MOST_TOKENS), estimated=True
    )


def most_input(request: Request) -> int:
    """Tokens that a request has at most, in practice. Reads the messages.

    ASCII text rarely has more than a token per two characters, other text at most one per
    byte; each message has a few of its own.
    """
    tokens = 0
    for message in request.messages:
        tokens += _most(message.content) + 16
        for call in message.tool_calls:
            tokens += _most(call.name) + _most(call.arguments) + 16
    for name in ("tools", "functions", "response_format", "input", "prompt"):
        if (value := request.params.get(name)) is not None:
            tokens += _most(str(value))
    return tokens


def _most(content: Any) -> int:
    if isinstance(content, str):
        return (len(content) + 1) // 2 if content.isascii() else len(content.encode("utf-8", "replace"))
    total = 0
    for part in content:
        text = part.get("text")
        total += _most(text) if isinstance(text, str) else MOST_ATTACHMENT_TOKENS
    return total


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
