"""Leaves out what LiteLLM would refuse to send to a provider, before it does, and tells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import litellm

from llmgate_plugins.types import Attempt, Deployment, Request

__all__ = ["supported"]

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
    """The request without the words that LiteLLM would refuse for this provider and model.

    `attempt.adapted` is told. What `allowed_openai_params` names stays, as in LiteLLM, and
    so does everything for a deployment that stands for another model (`base_model`).
    """
    params = request.params
    if request.operation != "chat" or CHECKED.isdisjoint(params):
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
