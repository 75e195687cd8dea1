"""What a request looks like, without any of its content: as much as choosing for it again needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.types import LazyMessages, Request

__all__ = ["shape_of"]

_CHARACTERS_PER_TOKEN: Final = 4
_ATTACHMENT: Final = 4_000
"""Characters that an attachment counts as: 1,000 tokens, the order of a large picture."""
_TOOL: Final = 400
"""Characters that the definition of a tool counts as; to write one out takes longer than all the rest."""
_BOUNDS: Final = ("max_completion_tokens", "max_tokens", "n", "best_of")
_WORDS: Final = ("service_tier", "reasoning_effort")
_LONGEST_WORD: Final = 32
_MOST_PARTS: Final = 8


def shape_of(request: Request) -> dict[str, Any]:
    """The shape of a request, as plain values; what it does not say is left out.

    Returns:
        messages: how many; characters: a picture or file counts 4,000 and the definition of a
        tool 400; input_tokens: about how many, a quarter of these; parts: types of content other
        than text; max_completion_tokens, max_tokens, n; tools: how many; response_format: its
        type; modalities; service_tier, reasoning_effort; fallbacks: aliases, as asked for;
        timeout: seconds; on_break.
    """
    messages = request.messages
    natives: Sequence[Any] = messages.native if type(messages) is LazyMessages else messages
    characters = 0
    parts: set[str] | None = None
    for message in natives:
        content = message.get("content") if type(message) is dict else getattr(message, "content", None)
        if isinstance(content, str):
            characters += len(content)
        elif content and isinstance(content, Sequence):
            parts = set() if parts is None else parts
            characters += _measured(content, parts)
    shape: dict[str, Any] = {"messages": len(natives)}
    if request.params:
        characters += _params(request.params, shape)
    shape["characters"] = characters
    shape["input_tokens"] = -(-characters // _CHARACTERS_PER_TOKEN)
    if parts:
        shape["parts"] = sorted(parts)[:_MOST_PARTS]
    if request.fallbacks is not None:
        shape["fallbacks"] = list(request.fallbacks)
    if request.timeout is not None:
        shape["timeout"] = request.timeout
    if request.on_break is not None:
        shape["on_break"] = request.on_break
    return shape


def _measured(content: Sequence[Any], parts: set[str]) -> int:
    """Characters of content parts; what they are besides text goes to `parts`."""
    characters = 0
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str):
            characters += len(text)
        else:
            characters += _ATTACHMENT
            parts.add(str(part.get("type"))[:_LONGEST_WORD] if isinstance(part, Mapping) else "unknown")
    return characters


def _params(params: Mapping[str, Any], shape: dict[str, Any]) -> int:
    """Put down what counts of the parameters; the characters that are in them."""
    for name in _BOUNDS:
        if type(value := params.get(name)) is int:
            shape[name] = value
    for name in _WORDS:
        if isinstance(value := params.get(name), str):
            shape[name] = value[:_LONGEST_WORD]
    characters = 0
    tools = params.get("tools") or params.get("functions")
    if tools and isinstance(tools, Sequence):
        shape["tools"] = number = len(tools)
        characters += number * _TOOL
    wanted = params.get("response_format")
    if wanted is not None:
        kind = wanted.get("type") if isinstance(wanted, Mapping) else "json_schema"
        shape["response_format"] = str(kind)[:_LONGEST_WORD]
    modalities = params.get("modalities")
    if modalities and isinstance(modalities, Sequence):
        shape["modalities"] = [str(one)[:_LONGEST_WORD] for one in modalities][:_MOST_PARTS]
    for name in ("input", "prompt"):
        if (value := params.get(name)) is not None:
            characters += len(value) if isinstance(value, str) else _texts(value)
    return characters


def _texts(value: Any) -> int:
    return sum(len(one) for one in value if isinstance(one, str)) if isinstance(value, Sequence) else 0
