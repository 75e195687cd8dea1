"""Leaves out what LiteLLM would refuse to send, or would send to who refuses it; and tells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import litellm

from llmgate_plugins.foreign import fit_messages, profile_of
from llmgate_plugins.types import Attempt, Deployment, LazyMessages, Request

__all__ = ["supported"]

PLAIN: Final = frozenset({"role", "content"})
"""All that a message has which no provider could object to, if its content is text."""

_WORDS: Final = """
    audio frequency_penalty logit_bias logprobs modalities n parallel_tool_calls prediction presence_penalty
    prompt_cache_key prompt_cache_retention reasoning_effort safety_identifier seed service_tier stop store
    temperature thinking top_logprobs top_p verbosity web_search_options
"""
CHECKED: Final = frozenset(_WORDS.split())
"""Words that LiteLLM refuses with `UnsupportedParamsError` where its table of a provider does not name them.

Tools and answer formats are not among them: without those it would be another request.
"""


def supported(attempt: Attempt, request: Request) -> Request:
    """The request without the words that LiteLLM would refuse for this provider and model, and
    without what other providers left in a history that LiteLLM sends on as it is.

    `attempt.adapted` is told. What `allowed_openai_params` names stays, as in LiteLLM, and
    so does everything for a deployment that stands for another model (`base_model`).
    """
    if request.operation != "chat":
        return request
    request = _with_own_history(attempt, request)
    params = request.params
    if CHECKED.isdisjoint(params):
        return request
    deployment = attempt.deployment
    refused = (CHECKED & params.keys()) - _known(deployment.provider, deployment.model)
    if refused:
        refused -= _allowed(deployment, params)
    refused = frozenset(
        name for name in refused if params[name] is not None and (name, params[name]) != ("n", 1)
    )
    if not refused or deployment.info.get("base_model"):
        return request
    for name in sorted(refused):
        sentence = f"left out {name}: LiteLLM does not send it to {deployment.model}"
        if sentence not in attempt.adapted:
            attempt.adapted.append(sentence)
    return request.replace(params={name: value for name, value in params.items() if name not in refused})


def _with_own_history(attempt: Attempt, request: Request) -> Request:
    """LiteLLM's messages as this provider takes them; read only where one is more than text."""
    messages, profile = request.messages, profile_of(attempt.deployment)
    if not profile.family or not isinstance(messages, LazyMessages) or all(map(_is_plain, messages.native)):
        return request
    fitted = fit_messages(messages.messages, profile, attempt.deployment.provider, attempt.adapted)
    return request if fitted is messages.messages else request.replace(messages=fitted)


def _is_plain(native: Any) -> bool:
    return (
        isinstance(native, Mapping)
        and native.keys() <= PLAIN
        and isinstance(native.get("content"), str | None)
    )


@lru_cache(maxsize=1_024)
def _known(provider: str, model: str) -> frozenset[str]:
    """What LiteLLM knows to be taken; everything where it has no table of the provider."""
    try:
        names = litellm.get_supported_openai_params(model=model, custom_llm_provider=provider)
    except Exception:  # noqa: BLE001 - whatever its tables cannot look up is left for the call to say
        names = None
    return CHECKED if names is None else frozenset(names)


def _allowed(deployment: Deployment, params: Mapping[str, Any]) -> frozenset[str]:
    for where in (params, deployment.params, deployment.endpoint.options):
        if where and (allowed := where.get("allowed_openai_params")):
            return frozenset(allowed)
    return frozenset()
