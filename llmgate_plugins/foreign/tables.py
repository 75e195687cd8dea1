"""Which words and message parts only some providers take. Data; extend it by adding rows.

Words are those of a request (`Request.params`), in the OpenAI vocabulary, which transports
translate to a provider's own where it has the same thing under another name. Each row is from
a provider's reference or from what its API was seen to answer:

- OpenAI refuses every argument it does not know (`unknown_parameter`, "Unrecognized request
  argument supplied"); reasoning models refuse sampling (platform.openai.com/docs/guides/reasoning,
  community.openai.com/t/1110750).
- Anthropic refuses every extra input (docs.claude.com/en/api/errors); its own OpenAI layer
  lists what it would ignore (docs.claude.com/en/api/openai-sdk). Sampling on new models:
  "`temperature` is deprecated for this model"; beside thinking:
  docs.claude.com/en/docs/build-with-claude/extended-thinking. Tool call ids: bifrost#5097.
  Thinking that another model signed, or nobody: anthropic-sdk-python#1598.
- Gemini refuses unknown names: "Unknown name "store": Cannot find field".
- Groq lists what ends in a 400 (console.groq.com/docs/openai); unknown properties do as well.
- Mistral forbids extra inputs (`extra_forbidden`, 422), in messages too (litellm#30835); tool
  call ids have nine letters or digits (langchain#24668).
- Cerebras refuses thoughts in messages (`wrong_api_format`); xAI refuses penalties from Grok 4 on
  (docs.x.ai/developers/model-capabilities/text/reasoning).
- OpenRouter ignores what a model does not take (openrouter.ai/docs/api-reference/parameters).
- Azure serves other models too; those refuse OpenAI's cache keys (zed#52000).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = [
    "BUDGETS",
    "BY_MODEL",
    "CLASHES",
    "FAMILIES",
    "IDS",
    "MARKED_FAMILIES",
    "MESSAGE_FIELDS",
    "OPENAI_MODELS",
    "PARTS",
    "RENAMED",
    "STRICT",
    "TAKEN_BY",
    "THINKERS",
    "WHILE_THINKING",
]

FAMILIES: Final[Mapping[str, str]] = {
    "openai": "openai",
    "azure": "openai",
    "azure_ai": "azure_ai",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "vertex_ai": "gemini",
    "vertex_ai_beta": "gemini",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "groq": "groq",
    "mistral": "mistral",
    "codestral": "mistral",
    "openrouter": "openrouter",
    "cerebras": "cerebras",
    "xai": "xai",
}
"""Provider -> family. What is not here takes whatever it is given, as far as we know."""

STRICT: Final = frozenset({"openai", "anthropic", "gemini", "bedrock", "groq", "mistral"})
"""Families that refuse a word they do not know. They get the words of `TAKEN_BY` that name them."""


def _families(rows: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return {word: frozenset(families.split()) for word, families in rows.items()}


TAKEN_BY: Final = _families(
    {
        # What began with OpenAI.
        "audio": "openai",
        "frequency_penalty": "openai gemini groq mistral",
        "logit_bias": "openai",
        "logprobs": "openai gemini",
        "metadata": "openai anthropic groq mistral",
        "modalities": "openai gemini",
        "n": "openai gemini mistral",
        "prediction": "openai mistral",
        "presence_penalty": "openai gemini groq mistral",
        "prompt_cache_key": "openai",
        "prompt_cache_retention": "openai",
        "safety_identifier": "openai",
        "seed": "openai gemini groq mistral",
        "service_tier": "openai anthropic gemini bedrock groq",
        "store": "openai",
        "stream_options": "openai anthropic gemini bedrock groq",
        "top_logprobs": "openai gemini",
        "user": "openai anthropic gemini bedrock groq",
        "verbosity": "openai",
        "web_search_options": "openai anthropic gemini bedrock groq",
        # Anthropic's.
        "cache_control": "anthropic",
        "container": "anthropic",
        "context_management": "anthropic",
        "mcp_servers": "anthropic",
        "output_config": "anthropic bedrock",
        "thinking": "anthropic bedrock gemini",
        "top_k": "anthropic bedrock gemini",
        # Google's.
        "cached_content": "gemini",
        "safety_settings": "gemini",
        "thinking_config": "gemini",
        # Mistral's.
        "prompt_mode": "mistral",
        "random_seed": "mistral",
        "safe_prompt": "mistral",
        # Groq's and OpenRouter's.
        "include_reasoning": "groq",
        "min_p": "",
        "models": "",
        "plugins": "",
        "reasoning": "",
        "reasoning_format": "groq",
        "repetition_penalty": "",
        "route": "",
        "top_a": "",
        "transforms": "",
    }
)
"""Word -> the strict families that take it. The others would refuse the whole request."""

RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "anthropic": {"max_completion_tokens": "max_tokens"},
    "mistral": {"max_completion_tokens": "max_tokens", "seed": "random_seed"},
}
"""Family -> word -> its own word for the same thing."""

BY_MODEL: Final = (
    (
        "openai",
        re.compile(r"o\d|gpt-5(?!\.|-chat)"),
        "temperature top_p frequency_penalty presence_penalty logit_bias logprobs top_logprobs prediction",
    ),
    ("openai", re.compile(r"o[34]|gpt-5(?!\.|-chat)"), "stop"),
    ("openai", re.compile(r"o\d"), "parallel_tool_calls verbosity"),
    ("openai", re.compile(r"gpt-[34]|chatgpt"), "reasoning_effort verbosity"),
    ("azure_ai", re.compile(r"(?!gpt|o\d)"), "prompt_cache_key prompt_cache_retention"),
    ("anthropic", re.compile(r".*(opus-4[-.][78]|fable)"), "temperature top_p top_k"),
    ("bedrock", re.compile(r".*(opus-4[-.][78]|fable)"), "temperature top_p top_k"),
    ("xai", re.compile(r"grok-(?![23])"), "frequency_penalty presence_penalty"),
)
"""(family, how its models' names begin, words these refuse). A temperature of 1 is always taken."""

CLASHES: Final = (
    ("anthropic", re.compile(r".*(opus-4[-.]1|(sonnet|haiku)-4[-.]5)"), "temperature", "top_p"),
    ("bedrock", re.compile(r".*(opus-4[-.]1|(sonnet|haiku)-4[-.]5)"), "temperature", "top_p"),
)
"""(family, models, a word, a word that cannot stand beside it)."""

WHILE_THINKING: Final[Mapping[str, str]] = {
    "anthropic": "temperature top_k",
    "bedrock": "temperature top_k",
}
"""Family -> words that cannot stand beside thinking. A temperature of 1 can."""

BUDGETS: Final = (("low", 1_024), ("medium", 8_192), ("high", 24_576))
"""Reasoning effort <-> thinking budget in tokens, as Google maps them.

Source: ai.google.dev/gemini-api/docs/openai.
"""

OPENAI_MODELS: Final = re.compile(r"(ft:)?(gpt-(?!oss)|o\d|chatgpt)")
"""Behind another address, "openai" only says which wire is spoken: only these are OpenAI's own."""

THINKERS: Final = (
    (re.compile(r"o\d|gpt-5(?!-chat)"), True),
    (re.compile(r"gpt-[34]|chatgpt"), False),
)
"""Whether OpenAI's models think, where no catalogue says so."""

# ------------------------------------------------------------ messages

MARKED_FAMILIES: Final = frozenset({"openai", "azure_ai", "groq", "mistral", "cerebras"})
"""Families that refuse `cache_control` on parts, messages and tools."""

_THOUGHTS: Final = "thinking redacted_thinking reasoning"

PARTS: Final = _families(
    {
        "openai": _THOUGHTS,
        "azure_ai": _THOUGHTS,
        "gemini": _THOUGHTS,
        "groq": _THOUGHTS,
        "cerebras": _THOUGHTS,
        "mistral": "redacted_thinking reasoning",
        "anthropic": "reasoning",
    }
)
"""Family -> types of content parts that it refuses."""

_THOUGHT_FIELDS: Final = "reasoning reasoning_content reasoning_details thinking_blocks"

MESSAGE_FIELDS: Final = _families(
    {
        "openai": _THOUGHT_FIELDS,
        "azure_ai": _THOUGHT_FIELDS,
        "groq": f"{_THOUGHT_FIELDS} name",
        "cerebras": _THOUGHT_FIELDS,
        "mistral": f"{_THOUGHT_FIELDS} name",
    }
)
"""Family -> fields of a message that it refuses. A tool's answer keeps its name."""

IDS: Final = {
    "anthropic": (re.compile(r"[a-zA-Z0-9_-]{1,64}"), 24),
    "bedrock": (re.compile(r"[a-zA-Z0-9_-]{1,64}"), 24),
    "mistral": (re.compile(r"[a-zA-Z0-9]{9}"), 9),
    "openai": (re.compile(r".{1,40}"), 24),
}
"""Family -> (ids of tool calls that it takes, the length of one made in place of another)."""
