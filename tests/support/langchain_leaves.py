"""Inner chat models over simulated providers, of each kind that a gate is tested over."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from langchain_core.language_models import BaseChatModel

from llmgate_plugins.testing import ProviderSimulator, SimulatedProvider

__all__ = ["LEAVES", "MODELS", "leaf", "simulator"]

LEAVES = ("openai", "anthropic", "litellm")
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "litellm": "gpt-4o-mini"}
OTHER_MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "litellm": "gpt-4o"}


@cache
def simulator() -> ProviderSimulator:
    """One simulator for the whole run; each test takes a provider of its own name."""
    return ProviderSimulator(seed=7).start()


def leaf(
    kind: str, provider: SimulatedProvider, *, model: str | None = None, dead: bool = False, **settings: Any
) -> BaseChatModel:
    """A chat model of this kind over this provider.

    Args:
        dead: Point it where nobody listens.
    """
    name = model or MODELS[kind]
    address = provider.closed_url if dead else provider.openai_base_url
    key = "sk-simulated-key"
    if kind == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=name, base_url=address, api_key=key, **settings)
    if kind == "anthropic":
        from langchain_anthropic import ChatAnthropic

        url = provider.closed_url.removesuffix("/v1") if dead else provider.anthropic_base_url
        return ChatAnthropic(model=name, base_url=url, api_key=key, **settings)
    from langchain_litellm import ChatLiteLLM

    return ChatLiteLLM(model=f"openai/{name}", api_base=address, api_key=key, **settings)
