"""What LiteLLM reports beside an answer: usage, the tier it was served in, and limits."""

from __future__ import annotations

import functools
from typing import Any, Final

from llmgate_plugins.classification import quota_from
from llmgate_plugins.limits import Quota
from llmgate_plugins.types import Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["FREE", "fields_of", "quota_in", "tier_in", "usage_in", "usage_of"]

FREE: Final = Usage()
"""Of what LiteLLM's own cache has answered."""
PREFIX: Final = "llm_provider-"
"""How LiteLLM names a provider's own headers."""


def fields_of(answer: Any) -> Any:
    """How to get at the fields of an answer, whether it is a dict or an object; None for what it lacks."""
    return answer.get if isinstance(answer, dict) else functools.partial(_field, answer)


def usage_in(answer: Any) -> Usage | None:
    """As reported, of every shape that LiteLLM makes chat's of or leaves as the provider's; None if not."""
    fields = fields_of(answer)
    return usage_of(fields, fields("_hidden_params"))


def usage_of(fields: Any, hidden: Any) -> Usage | None:
    """The same for whoever has its fields and hidden parameters already, which cost time to get at."""
    return usage_from_litellm(fields("usage") or {}, tier=tier_in(fields("service_tier"), hidden))


def tier_in(told: Any, hidden: Any) -> Any:
    """The service tier beside the usage, or Gemini's traffic type where LiteLLM keeps it; None if untold."""
    if told is not None or not isinstance(hidden, dict):
        return told
    specific = hidden.get("provider_specific_fields")
    return specific.get("traffic_type") if isinstance(specific, dict) else None


def quota_in(hidden: Any) -> Quota | None:
    """What the provider said of its rate limits, in LiteLLM's hidden parameters; None if nothing.

    The names without LiteLLM's prefix are left aside: there its router writes limits of its own.
    """
    headers = hidden.get("additional_headers") if isinstance(hidden, dict) else None
    if not headers or not any("-ratelimit-" in name for name in headers):
        return None
    return quota_from(
        {name[len(PREFIX) :]: value for name, value in headers.items() if name.startswith(PREFIX)}
    )


def _field(answer: Any, name: str) -> Any:
    return getattr(answer, name, None)
