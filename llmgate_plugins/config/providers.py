"""Which provider a model's name means, and where that provider's key usually stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

__all__ = ["PROVIDERS", "may_have_usual_key", "split_model", "usual_keys"]

PROVIDERS: Final = frozenset(
    """
    a2a a2a_agent ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic anthropic_text apertis
    assemblyai auto_router azure azure_ai azure_text baseten bedrock bedrock_converse bedrock_mantle
    black_forest_labs bytez cerebras charity_engine chatgpt chutes clarifai cloudflare codestral
    cognition cohere cohere_chat cometapi compactifai cortecs cursor custom custom_openai darkbloom
    dashscope databricks datarobot deepgram deepinfra deepseek docker_model_runner edenai elevenlabs
    empower fal_ai featherless_ai fireworks_ai friendliai galadriel gdc gemini gigachat github
    github_copilot gradient_ai groq helicone heroku hosted_vllm huggingface hyperbolic inception
    infinity jina_ai lambda_ai langflow langgraph lemonade libertai litellm_proxy llamafile
    lm_studio manus maritalk meta meta_llama minimax mistral modelscope moonshot morph nadir
    nano-gpt nebius neosantara nlp_cloud novita nscale nvidia_nim nvidia_riva oci ollama ollama_chat
    oobabooga openai openai_like openrouter ovhcloud parasail perplexity petals poe predibase
    publicai qwencloud ragflow recraft reka replicate runwayml sagemaker sagemaker_chat
    sagemaker_nova sambanova sap scaleway snowflake stability synthetic tencent tensormesh
    text-completion-codestral text-completion-inception text-completion-openai together_ai triton v0
    veniceai vercel_ai_gateway vertex_ai vertex_ai_beta vllm volcengine voyage wandb watsonx
    watsonx_text xai xiaomi_mimo xinference zai
    """.split()  # noqa: SIM905 - a list of 160 quoted words is harder to read
)
"""Names LiteLLM knows too; `custom_llm_provider` may name any other."""

_BARE: Final = (
    (re.compile(r"(?:gpt-|chatgpt-|o\d(?:$|-)|text-embedding-|ft:gpt-|computer-use-|codex-)"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"(?:mistral|codestral|magistral|ministral|devstral|pixtral)-"), "mistral"),
    (re.compile(r"deepseek-"), "deepseek"),
    (re.compile(r"grok-"), "xai"),
    (re.compile(r"command-"), "cohere_chat"),
)

_ADDRESS_IS_OWN: Final = frozenset({"azure", "azure_ai"})

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "text-completion-openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "azure_ai": ("AZURE_AI_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "mistral": ("MISTRAL_API_KEY",),
    "codestral": ("CODESTRAL_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "cohere_chat": ("COHERE_API_KEY", "CO_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "xai": ("XAI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "replicate": ("REPLICATE_API_KEY",),
    "voyage": ("VOYAGE_API_KEY",),
    "ai21": ("AI21_API_KEY",),
    "ai21_chat": ("AI21_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "zai": ("ZAI_API_KEY",),
    "minimax": ("MINIMAX_API_KEY",),
}


def split_model(
    model: str, custom_provider: str | None = None, registered: frozenset[str] = frozenset()
) -> tuple[str, str] | None:
    """Provider and the provider's own name of a model, by LiteLLM's rules; None if it cannot be told.

    `custom_provider` wins; else the first part of "provider/model"; else a well-known name.
    `registered` are further provider names that this application knows.
    """
    first, slash, rest = model.partition("/")
    if custom_provider:
        return custom_provider, rest if slash and first == custom_provider and rest else model
    if slash and rest and (first in PROVIDERS or first in registered):
        return first, rest
    if not slash:
        for pattern, provider in _BARE:
            if pattern.match(model):
                return provider, model
    return None


def usual_keys(provider: str) -> tuple[str, ...]:
    """Environment variables where this provider's key usually stands, the usual first; maybe none."""
    return _KEYS.get(provider, ())


def may_have_usual_key(provider: str, address: str | None) -> bool:
    """Whether the provider's usual key may go to this address without being asked for.

    It may go to the provider's own host, and to Azure, where every address is the
    customer's own. Anywhere else a key must be written beside the address.
    """
    if address is None or provider in _ADDRESS_IS_OWN:
        return True
    try:
        labels = (urlsplit(address).hostname or "").split(".")
    except ValueError:
        return False
    return len(labels) > 1 and labels[-2] == provider
