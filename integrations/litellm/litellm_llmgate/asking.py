"""What LiteLLM is asked for, read into a neutral request, and a changed request written back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.messages import from_message, to_message
from llmgate_plugins.types import EMPTY, LazyMessages, Message, Request

__all__ = ["OPERATIONS", "request_of", "written_back"]

OPERATIONS: Final[Mapping[str, str]] = {
    "_acompletion": "chat",
    "_completion": "chat",
    "_aembedding": "embedding",
    "_embedding": "embedding",
}
"""LiteLLM's own functions that make one attempt, and what they are for."""

PARAMS: Final = frozenset(
    [
        "audio",
        "dimensions",
        "encoding_format",
        "frequency_penalty",
        "function_call",
        "functions",
        "input",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
"""What plugins see of a call. An allow-list: keys, addresses, headers and clients stay out of sight."""

_LITELLMS_OWN: Final = re.compile(
    r"user_api_key|litellm|model_group|original_model_group|deployment|attempted_|max_retries|api_base|caching_groups"
    r"|endpoint|applied_|spend_logs|requester_|queue_time|global_max|hidden_params|previous_models|model_info|_"
)
_SECRET: Final = re.compile(r"key|token|secret|passw|authoriz|credential|cookie", re.IGNORECASE)
_LONGEST_TAG: Final = 256


def request_of(operation: str, kwargs: Mapping[str, Any], native: Any) -> Request:
    """The neutral request in the keyword arguments of one of LiteLLM's calls."""
    messages = kwargs.get("messages")
    return Request(
        model=kwargs["model"],
        messages=LazyMessages(messages, _message) if operation == "chat" and messages else (),
        params={name: value for name, value in kwargs.items() if name in PARAMS and value is not None},
        tags=tags_of(kwargs),
        stream=operation == "chat" and kwargs.get("stream") is True,
        operation=operation,
        native=native,
    )


def written_back(asked: Request, admitted: Request, kwargs: dict[str, Any]) -> None:
    """Carry what a policy changed into the keyword arguments of LiteLLM's call."""
    if admitted.messages is not asked.messages:
        kwargs["messages"] = [_native(message) for message in admitted.messages]
    if admitted.params is not asked.params:
        for name in asked.params.keys() - admitted.params.keys():
            kwargs.pop(name, None)
        kwargs.update(admitted.params)


def tags_of(kwargs: Mapping[str, Any]) -> Mapping[str, str]:
    """The caller's labels: plain values of its metadata, and its tags ("name:value" or "name").

    In the proxy the caller's metadata stands apart from what the proxy adds. Values that
    are named like a secret are left out.
    """
    metadata = kwargs.get("metadata") or kwargs.get("litellm_metadata")
    listed: Any = kwargs.get("tags")
    found: dict[str, str] = {}
    if isinstance(metadata, Mapping):
        listed = listed or metadata.get("tags")
        callers = metadata.get("requester_metadata") if "user_api_key" in metadata else metadata
        for name, value in (callers or EMPTY).items():
            if isinstance(value, str | int | float) and not _LITELLMS_OWN.match(name):
                found[name] = str(value)[:_LONGEST_TAG]
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        for tag in listed:
            name, _, value = str(tag)[:_LONGEST_TAG].partition(":")
            found.setdefault(name, value)
    return {name: value for name, value in found.items() if not _SECRET.search(name)} if found else EMPTY


def _message(native: Any) -> Message:
    return to_message(native if isinstance(native, Mapping) else native.model_dump(exclude_none=True))


def _native(message: Message) -> Any:
    """The host's own message where nothing changed."""
    native = message.native
    if native is not None and _message(native) == message:
        return native
    return from_message(message)
