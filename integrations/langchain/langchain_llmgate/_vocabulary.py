"""Which words of a call a provider's package does not take. A table; extend it by adding rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from llmgate_plugins.foreign import budget_of, fit_words, profile_of, tables
from llmgate_plugins.types import Deployment

__all__ = [
    "ALWAYS_SAY_WHY",
    "STRUCTURE_DEFAULTS",
    "TAKES_TIMEOUT",
    "clean",
    "clean_tool",
    "family_of",
    "fitted",
    "for_client",
    "takes_markers",
]

FAMILIES: Final = {
    "langchain_openai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_litellm": "litellm",
}
"""The package a model's class is from -> the client it calls."""


def _not_of(provider: str) -> frozenset[str]:
    return frozenset(word for word, takers in tables.TAKEN_BY.items() if provider not in takers)


ALWAYS_SAY_WHY: Final = frozenset({"openai", "anthropic", "litellm"})
"""Families whose streams always end with a finish reason: one without was cut."""

TAKES_TIMEOUT: Final = frozenset({"openai", "anthropic", "litellm"})
"""Families whose calls take `timeout` in seconds."""

HOSTS_OWN: Final[Mapping[str, frozenset[str]]] = {"openai": frozenset({"reasoning"})}
"""Words that the core would translate and a client has a use of its own for: `ChatOpenAI` goes by it to
the Responses API."""

NOTHING: Final[frozenset[str]] = frozenset()

_FURTHER: Final[Mapping[str, str]] = {
    "openai": "betas",
    "anthropic": """
        include max_completion_tokens parallel_tool_calls previous_response_id reasoning_effort stream_options
        text truncation user web_search_options
    """,
    "litellm": "stream_usage",
}
"""Further words that a client refuses, though its provider may take them from another client."""

REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "openai": _not_of("openai") - HOSTS_OWN["openai"] | {*_FURTHER["openai"].split()},
    "anthropic": _not_of("anthropic") | {*_FURTHER["anthropic"].split()},
    "litellm": frozenset({"cache_control", *_FURTHER["litellm"].split()}),
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


def fitted(
    words: Mapping[str, Any], deployment: Deployment, family: str, changes: list[str]
) -> Mapping[str, Any]:
    """The call's words as the provider takes them, by the core's tables; `changes` is told.

    Tools are left alone: the inner model translates them from what they were made of.
    """
    return fit_words(words, deployment, changes, HOSTS_OWN.get(family, NOTHING) | {"tools"})


def for_client(
    words: dict[str, Any], model: BaseChatModel, deployment: Deployment, family: str, changes: list[str]
) -> dict[str, Any]:
    """The words as the family's client takes them, in its own terms where it has some; `changes` is told.

    What an OpenAI client does not know and the server behind it may, goes in the body as it is.
    """
    refused = REFUSED.get(family)
    if refused is None or refused.isdisjoint(words):
        return words
    if family == "anthropic":
        words = _for_anthropic(words, model, changes)
    body: dict[str, Any] = {}
    open_server = family == "openai" and profile_of(deployment).family not in tables.STRICT
    for word in [word for word in words if word in refused]:
        value = words.pop(word)
        if open_server and word in tables.TAKEN_BY:
            body[word] = value
        else:
            changes.append(f"left out {word}: the client for {family} does not take it")
    return {**words, "extra_body": {**body, **(words.get("extra_body") or {})}} if body else words


def _for_anthropic(words: dict[str, Any], model: BaseChatModel, changes: list[str]) -> dict[str, Any]:
    """A user and a reasoning effort as Anthropic says them."""
    words = dict(words)
    user = words.pop("user", None)
    if user is not None and "metadata" not in words:
        words["metadata"] = {"user_id": user}
        changes.append("user became metadata.user_id for anthropic")
    effort = words.pop("reasoning_effort", None)
    if effort is None or "thinking" in words:
        return words
    most = words.get("max_tokens") or getattr(model, "max_tokens", None)
    budget = None if _is_bound(words, model) else budget_of(effort, most)
    if budget is None:
        changes.append("left out reasoning_effort: anthropic cannot think here")
        return words
    if any(name == "anthropic" and models.match(_name(model)) for name, models, _ in tables.BY_MODEL):
        words.update(thinking={"type": "adaptive"}, output_config={"effort": effort})
        changes.append("reasoning_effort became output_config.effort for anthropic")
    else:
        words["thinking"] = {"type": "enabled", "budget_tokens": budget}
        changes.append(f"reasoning_effort became thinking of {budget} tokens for anthropic")
    return words


def _is_bound(words: Mapping[str, Any], model: BaseChatModel) -> bool:
    """Whether something is asked for beside which Anthropic refuses to think."""
    choice = words.get("tool_choice")
    forced = isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
    own = getattr(model, "temperature", None)
    return forced or (own not in (None, 1) and "temperature" not in words)


def _name(model: BaseChatModel) -> str:
    return str(getattr(model, "model", ""))


def clean_tool(tool: Any) -> Any:
    """A tool without cache markers; one that has none is the same object."""
    if isinstance(tool, dict):
        return clean(tool)
    extras = getattr(tool, "extras", None)
    if isinstance(extras, dict) and not MARKERS.isdisjoint(extras):
        return tool.model_copy(update={"extras": clean(extras) or None})
    return tool


def clean(block: dict[str, Any]) -> dict[str, Any]:
    """A block without cache markers; one that has none is the same object."""
    cleaned = block
    if not MARKERS.isdisjoint(block):
        cleaned = {key: value for key, value in block.items() if key not in MARKERS}
    for nested in ("extras", "metadata"):
        inner = cleaned.get(nested)
        if isinstance(inner, dict) and not MARKERS.isdisjoint(inner):
            cleaned = {**cleaned, nested: clean(inner)}
    return cleaned
