"""Which words of a call a provider's package does not take. A table; extend it by adding rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

__all__ = [
    "ALWAYS_SAY_WHY",
    "STRUCTURE_DEFAULTS",
    "TAKES_TIMEOUT",
    "clean_tool",
    "family_of",
    "takes_markers",
    "without_foreign",
    "without_markers",
]

FAMILIES: Final = {
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_litellm": "litellm",
}
"""The package a model's class is from -> the client it calls."""

ALWAYS_SAY_WHY: Final = frozenset({"openai", "anthropic", "litellm"})
"""Families whose streams always end with a finish reason: one without was cut."""

TAKES_TIMEOUT: Final = frozenset({"openai", "anthropic", "litellm"})
"""Families whose calls take `timeout` in seconds."""

_FOR_OPENAI = """
    audio frequency_penalty include logit_bias logprobs modalities n prediction presence_penalty
    previous_response_id prompt_cache_key prompt_cache_retention reasoning safety_identifier seed store
    stream_options text top_logprobs truncation user verbosity web_search_options parallel_tool_calls
"""
_FOR_ANTHROPIC = """
    betas cache_control container context_management mcp_servers output_config thinking top_k
"""

REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset(_FOR_ANTHROPIC.split()),
    "anthropic": frozenset(_FOR_OPENAI.split()),
    "litellm": frozenset({"cache_control", "stream_usage"}),
}
"""Words that a family's client refuses with a TypeError before anything is sent."""

STRUCTURE_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    # langchain-litellm marks every schema as strict, and OpenAI refuses a strict schema with optional fields.
    "litellm": {"strict": False},
}
"""What a family's `with_structured_output` is told where the caller said nothing."""

MARKERS: Final = frozenset({"cache_control"})
"""Hints to one provider's cache inside messages and tools; a real API refuses the others' ones."""

TAKES_MARKERS: Final = frozenset({"anthropic-chat", "anthropic-bedrock-chat", "anthropic-chat-vertexai"})
"""`_llm_type` of models that take them. LiteLLM translates them itself."""


def family_of(model: BaseChatModel) -> str:
    """Which client a model calls, by the package of its class or of a class above it; "" if unknown."""
    for kind in type(model).__mro__:
        family = FAMILIES.get(kind.__module__.partition(".")[0])
        if family is not None:
            return family
    return ""


def takes_markers(model: BaseChatModel, family: str) -> bool:
    """Whether cache markers may stay in what is sent to this model."""
    return family == "litellm" or model._llm_type in TAKES_MARKERS


def without_foreign(kwargs: Mapping[str, Any], family: str) -> dict[str, Any]:
    """The call's words without those that the family's client refuses."""
    refused = REFUSED.get(family)
    if refused is None or refused.isdisjoint(kwargs):
        return dict(kwargs)
    return {key: value for key, value in kwargs.items() if key not in refused}


def without_markers(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages without another provider's cache markers; a message that has none is the same object."""
    return [_clean_message(message) if type(message.content) is list else message for message in messages]


def clean_tool(tool: Any) -> Any:
    """A tool without cache markers; one that has none is the same object."""
    if isinstance(tool, dict):
        return _clean(tool)
    extras = getattr(tool, "extras", None)
    if isinstance(extras, dict) and not MARKERS.isdisjoint(extras):
        return tool.model_copy(update={"extras": _clean(extras) or None})
    return tool


def _clean_message(message: BaseMessage) -> BaseMessage:
    content = [_clean(block) if isinstance(block, dict) else block for block in message.content]
    if all(after is before for after, before in zip(content, message.content, strict=True)):
        return message
    return message.model_copy(update={"content": content})


def _clean(block: dict[str, Any]) -> dict[str, Any]:
    cleaned = block
    if not MARKERS.isdisjoint(block):
        cleaned = {key: value for key, value in block.items() if key not in MARKERS}
    for nested in ("extras", "metadata"):
        inner = cleaned.get(nested)
        if isinstance(inner, dict) and not MARKERS.isdisjoint(inner):
            cleaned = {**cleaned, nested: _clean(inner)}
    return cleaned
