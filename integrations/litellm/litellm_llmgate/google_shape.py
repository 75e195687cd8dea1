"""What is said in the shape of Google's `generateContent`, and what it says was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.types import Message, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["bounds_in", "instruction_in", "messages_in", "of", "usage_in"]


def of(thing: Any, name: str) -> Any:
    """A field of a mapping or of an object; None if it has none."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def messages_in(contents: Any) -> tuple[Message, ...]:
    """The conversation. What is no text is only said to be there."""
    if isinstance(contents, str):
        return (Message(role="user", content=contents),)
    many = contents if isinstance(contents, Sequence) else () if contents is None else (contents,)
    return tuple(_message(one) for one in many)


def bounds_in(config: Any) -> dict[str, int]:
    """How long an answer may be and how many are asked for, in the words of chat."""
    found = {}
    for name, theirs, other in (
        ("max_output_tokens", "maxOutputTokens", "max_output_tokens"),
        ("n", "candidateCount", "candidate_count"),
    ):
        told = of(config, theirs) or of(config, other)
        if isinstance(told, int):
            found[name] = told
    return found


def instruction_in(kwargs: Mapping[str, Any], config: Any) -> Any:
    """What the model is told before the conversation; None if nothing."""
    for where in (kwargs, config):
        for name in ("systemInstruction", "system_instruction"):
            if (told := of(where, name)) is not None:
                return told
    return None


def usage_in(answer: Any) -> Usage | None:
    """As reported; what was thought stands beside what was written. None where nothing was."""
    told = of(answer, "usageMetadata") or of(answer, "usage_metadata")

    def count(name: str, other: str) -> int:
        return of(told, name) or of(told, other) or 0

    thought = count("thoughtsTokenCount", "thoughts_token_count")
    written = count("candidatesTokenCount", "candidates_token_count") + thought
    read = count("promptTokenCount", "prompt_token_count")
    read += count("toolUsePromptTokenCount", "tool_use_prompt_token_count")
    cached = count("cachedContentTokenCount", "cached_content_token_count")
    kept = _kinds(told, "cacheTokensDetails", "cache_tokens_details")
    return usage_from_litellm(
        {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {
                **_kinds(told, "promptTokensDetails", "prompt_tokens_details"),
                "cached_tokens": cached,
                "cached_tokens_details": kept,
            },
            "completion_tokens_details": {
                **_kinds(told, "candidatesTokensDetails", "candidates_tokens_details"),
                "reasoning_tokens": thought,
            },
        },
        tier=_word(of(told, "trafficType") or of(told, "traffic_type")),
    )


_KINDS: Final = {"AUDIO": "audio_tokens", "IMAGE": "image_tokens"}


def _kinds(told: Any, name: str, other: str) -> dict[str, int]:
    """Tokens of sound and pictures, which have prices of their own."""
    found: dict[str, int] = {}
    for one in of(told, name) or of(told, other) or ():
        kind = _KINDS.get(_word(of(one, "modality")).upper())
        if kind is not None:
            found[kind] = found.get(kind, 0) + (of(one, "tokenCount") or of(one, "token_count") or 0)
    return found


def _word(told: Any) -> str:
    """As it stands in JSON; Google's client has an enumeration."""
    return str(getattr(told, "value", told) or "")


def _message(content: Any) -> Message:
    if isinstance(content, str):
        return Message(role="user", content=content)
    role = "assistant" if of(content, "role") == "model" else "user"
    parts = list(of(content, "parts") or ())
    texts = [of(part, "text") for part in parts]
    if all(isinstance(text, str) for text in texts):
        return Message(role=role, content="".join(texts), native=content)
    said = tuple(
        {"type": "text", "text": text} if isinstance(text, str) else {"type": "file", "file": {}}
        for text in texts
    )
    return Message(role=role, content=said, native=content)
