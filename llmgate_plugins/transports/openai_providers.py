"""Providers that speak OpenAI's wire, and what is particular about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.types import Deployment

__all__ = ["AZURE", "PROVIDERS", "Speaker", "address_of", "length_word"]

AZURE: Final = "azure"


@dataclass(frozen=True, slots=True)
class Speaker:
    """One provider.

    Attributes:
        base_url: Its address; None where each customer has an own one.
        needs_key: Whether it refuses calls without a key.
        stream_options: Whether usage of a stream must be asked for; where not, it
            comes unasked, or the word is refused.
    """

    base_url: str | None = None
    needs_key: bool = True
    stream_options: bool = True


PROVIDERS: Final[Mapping[str, Speaker]] = {
    "openai": Speaker("https://api.openai.com/v1"),
    AZURE: Speaker(),
    "cerebras": Speaker("https://api.cerebras.ai/v1"),
    "codestral": Speaker("https://codestral.mistral.ai/v1", stream_options=False),
    "dashscope": Speaker("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    "deepinfra": Speaker("https://api.deepinfra.com/v1/openai"),
    "deepseek": Speaker("https://api.deepseek.com/v1"),
    "fireworks_ai": Speaker("https://api.fireworks.ai/inference/v1"),
    "groq": Speaker("https://api.groq.com/openai/v1"),
    "hyperbolic": Speaker("https://api.hyperbolic.xyz/v1"),
    "mistral": Speaker("https://api.mistral.ai/v1", stream_options=False),
    "moonshot": Speaker("https://api.moonshot.ai/v1"),
    "nvidia_nim": Speaker("https://integrate.api.nvidia.com/v1"),
    "openrouter": Speaker("https://openrouter.ai/api/v1"),
    "perplexity": Speaker("https://api.perplexity.ai", stream_options=False),
    "sambanova": Speaker("https://api.sambanova.ai/v1"),
    "together_ai": Speaker("https://api.together.xyz/v1"),
    "xai": Speaker("https://api.x.ai/v1"),
    "zai": Speaker("https://api.z.ai/api/paas/v4"),
    # On one's own machines, with or without a key.
    "custom_openai": Speaker(needs_key=False),
    "hosted_vllm": Speaker(needs_key=False),
    "litellm_proxy": Speaker(needs_key=False),
    "llamafile": Speaker("http://127.0.0.1:8080/v1", needs_key=False),
    "lm_studio": Speaker("http://127.0.0.1:1234/v1", needs_key=False),
    "ollama": Speaker("http://127.0.0.1:11434/v1", needs_key=False),
    "ollama_chat": Speaker("http://127.0.0.1:11434/v1", needs_key=False),
    "openai_like": Speaker(needs_key=False),
    "vllm": Speaker(needs_key=False),
}
"""By LiteLLM's names of them."""

_OWN_ROOT: Final = frozenset({"ollama", "ollama_chat"})
"""Configurations name the root of these servers, which speak another language there."""

_REASONERS: Final = re.compile(r"(?:o\d|gpt-5)")
"""OpenAI's models that refuse `max_tokens`; they count what is thought as well."""


def address_of(deployment: Deployment) -> str:
    """The base URL of a deployment.

    Raises:
        ConfigurationError: It needs an own one and has none.
    """
    written = deployment.endpoint.base_url
    if written is None:
        usual = PROVIDERS[deployment.provider].base_url
        if usual is None:
            raise ConfigurationError(
                problems=[
                    Problem(
                        message=f"{deployment.id!r}: {deployment.provider} has no address of its own",
                        remedy="set api_base (Endpoint.base_url)",
                    )
                ]
            )
        return usual
    if deployment.provider in _OWN_ROOT and urlsplit(written).path in ("", "/"):
        return f"{written.rstrip('/')}/v1"
    return written


def length_word(deployment: Deployment) -> str:
    """How this deployment calls the limit on the length of an answer."""
    at_openai = deployment.provider in ("openai", AZURE)
    return "max_completion_tokens" if at_openai and _REASONERS.match(deployment.model) else "max_tokens"
