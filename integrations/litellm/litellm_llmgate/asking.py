"""What LiteLLM is asked for, read into a neutral request, and a changed request written back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from litellm_llmgate.endpoints import MEDIA
from litellm_llmgate.endpoints.google import bounds_in, instruction_in
from litellm_llmgate.per_call import OURS, check_word
from litellm_llmgate.quotes import Quotes
from litellm_llmgate.said import said_in, say
from llmgate_plugins.foreign import tables
from llmgate_plugins.types import EMPTY, Attempt, OnBreak, Request

__all__ = ["begun_answer", "is_streamed", "operation_of", "request_of", "written_back"]

OPERATIONS: Final[Mapping[str, str]] = {
    "_acompletion": "chat",
    "_aembedding": "embedding",
    "_aimage_generation": "image_generation",
    "_arerank": "rerank",
    "_aspeech": "speech",
    "_atranscription": "transcription",
    "_completion": "chat",
    "_embedding": "embedding",
    "_image_generation": "image_generation",
    "_pass_through_moderation_endpoint_factory": "moderation",
    "_atext_completion": "text",
}
"""LiteLLM's own functions that make one attempt, and what they are for."""

_GENERIC: Final = "_ageneric_api_call_with_fallbacks"
"""How the functions begin that make one attempt of an endpoint of another shape."""
_GENERIC_NOW: Final = "_generic_api_call_with_fallbacks"
"""The one for threads."""
_ENDPOINTS: Final[Mapping[str, str]] = {
    "acompact_responses": "responses",
    "agenerate_content": "generate_content",
    "agenerate_content_stream": "generate_content",
    "aimage_edit": "image_edit",
    "aocr": "ocr",
    "aresponses": "responses",
    "anthropic_messages": "messages",
    "aanthropic_messages": "messages",
    "avideo_edit": "video_generation",
    "avideo_extension": "video_generation",
    "avideo_generation": "video_generation",
    "avideo_remix": "video_generation",
    "generate_content": "generate_content",
    "ocr": "ocr",
    "responses": "responses",
    "video_generation": "video_generation",
}
PARAMS: Final = frozenset(
    [
        "audio",
        "background",
        "best_of",
        "dimensions",
        "documents",
        "encoding_format",
        "extra_body",
        "frequency_penalty",
        "function_call",
        "functions",
        "inference_geo",
        "input",
        "instructions",
        "language",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "modalities",
        "n",
        "output_format",
        "pages",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "quality",
        "query",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seconds",
        "seed",
        "service_tier",
        "size",
        "speed",
        "stop",
        "stop_sequences",
        "store",
        "stream_options",
        "style",
        "system",
        "systemInstruction",
        "system_instruction",
        "temperature",
        "text",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_n",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "voice",
        "web_search_options",
        *(tables.TAKEN_BY.keys() - {"metadata"}),  # LiteLLM's own metadata go nowhere
    ]
)
"""What plugins see of a call. An allow-list: keys, addresses, headers and clients stay out of sight."""

_HOSTS_AND_OURS: Final = re.compile(
    r"user_api_key|litellm|llmgate|model_group|original_model_group|deployment|attempted_|max_retries|api_base|caching_groups"
    r"|endpoint|applied_|spend_logs|requester_|queue_time|global_max|hidden_params|previous_models|model_info|_"
)
_MARKS_A_BEGINNING: Final = frozenset({"bedrock", "codestral", "deepseek", "mistral"})
"""Providers where LiteLLM wants a begun answer marked. For all others the mark would be sent as it is."""
_SECRET: Final = re.compile(r"key|token|secret|passw|authoriz|credential|cookie", re.IGNORECASE)
_LONGEST_TAG: Final = 256


def operation_of(function: Any, kwargs: Mapping[str, Any]) -> str | None:
    """What this function of LiteLLM's makes an attempt of; None for what the gateway leaves alone."""
    name = getattr(function, "__name__", "")
    if name.startswith((_GENERIC, _GENERIC_NOW)):
        return _ENDPOINTS.get(_endpoint_in(kwargs))
    return OPERATIONS.get(name)


def request_of(
    operation: str, kwargs: Mapping[str, Any], native: Any, on_break: OnBreak | None = None
) -> Request:
    """The neutral request in the keyword arguments of one of LiteLLM's calls."""
    params = {name: value for name, value in kwargs.items() if name in PARAMS and value is not None}
    if operation == "generate_content":
        config = kwargs.get("config") or kwargs.get("generationConfig")
        params |= bounds_in(config)
        if (instruction := instruction_in(kwargs, config)) is not None:
            params["system"] = instruction
    elif operation == "rerank":
        params.pop("input", None)  # LiteLLM has Python's own function of that name there
    is_media = operation in MEDIA
    return Request(
        model=kwargs["model"],
        messages=said_in(operation, kwargs),
        params=params,
        tags=tags_of(kwargs),
        stream=operation != "embedding" and not is_media and is_streamed(kwargs),
        operation=operation,
        session=_session(kwargs),
        on_break=on_break if operation == "chat" else "raise",  # others are passed on as they come
        native=native,
        quote=Quotes(operation, kwargs) if is_media else None,
    )


def is_streamed(kwargs: Mapping[str, Any]) -> bool:
    """Whether LiteLLM answers in pieces: an argument says so, or the function of the endpoint."""
    return kwargs.get("stream") is True or _endpoint_in(kwargs).endswith("_stream")


def _endpoint_in(kwargs: Mapping[str, Any]) -> str:
    """LiteLLM's name of the endpoint's own function."""
    inner = kwargs.get("original_generic_function") or kwargs.get("original_function")
    return getattr(inner, "__name__", "")


def _session(kwargs: Mapping[str, Any]) -> str | None:
    """The conversation by the caller's word, as LiteLLM has it. It keeps calls together, nothing more."""
    found = kwargs.get("litellm_session_id")
    if found is None:
        metadata = kwargs.get("metadata") or kwargs.get("litellm_metadata")
        found = metadata.get("session_id") if isinstance(metadata, Mapping) else None
    return None if found is None else str(found)[:_LONGEST_TAG]


def written_back(asked: Request, admitted: Request, kwargs: dict[str, Any]) -> None:
    """Carry what a policy changed into the keyword arguments of LiteLLM's call.

    Raises:
        ConfigurationError: This endpoint has no place for the messages that a policy wants.
    """
    if admitted.params is not asked.params:
        for name in asked.params.keys() - admitted.params.keys():
            kwargs.pop(name, None)
        before = asked.params
        kwargs.update({name: one for name, one in admitted.params.items() if before.get(name) is not one})
    if admitted.messages is not asked.messages:
        say(asked, admitted, kwargs)


def begun_answer(attempt: Attempt) -> dict[str, Any]:
    """The message that gives the model the beginning of its answer, which it goes on from."""
    begun: dict[str, Any] = {"role": "assistant", "content": attempt.prefill}
    if attempt.deployment.provider in _MARKS_A_BEGINNING:
        begun["prefix"] = True
    return begun


def tags_of(kwargs: Mapping[str, Any]) -> Mapping[str, str]:
    """The caller's labels: plain values of its metadata, and its tags ("name:value" or "name").

    In the proxy the caller's metadata stands apart from what the proxy adds. Values that
    are named like a secret are left out.

    Raises:
        CallDenied: A name of llmgate's own is misspelt.
    """
    metadata = kwargs.get("metadata") or kwargs.get("litellm_metadata")
    listed: Any = kwargs.get("tags")
    found: dict[str, str] = {}
    if isinstance(metadata, Mapping):
        listed = listed or metadata.get("tags")
        callers = metadata.get("requester_metadata") if "user_api_key" in metadata else metadata
        for name, value in (callers or EMPTY).items():
            if _HOSTS_AND_OURS.match(name):
                if name.startswith(OURS):
                    check_word(name)
            elif isinstance(value, str | int | float):
                found[name] = str(value)[:_LONGEST_TAG]
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        for tag in listed:
            name, _, value = str(tag)[:_LONGEST_TAG].partition(":")
            found.setdefault(name, value)
    return {name: value for name, value in found.items() if not _SECRET.search(name)} if found else EMPTY
