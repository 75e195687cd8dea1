"""The headers in which the proxy says what became of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litellm_llmgate.feedback import HEADER

__all__ = ["WITHOUT_HOOK", "headers_of"]

WITHOUT_HOOK: Final = frozenset({"rerank"})
"""Operations whose headers LiteLLM asks no hook for: it takes them from the answer's hidden parameters.
Of a moderation it takes none."""


def headers_of(told: Mapping[str, Any]) -> dict[str, str]:
    """What the hidden parameters of an answer say of its call, as far as it is known."""
    named = {
        HEADER: told.get("call_id"),
        "x-llmgate-deployment": told.get("deployment"),
        "x-llmgate-attempts": told.get("attempts"),
        "x-llmgate-policy": told.get("policy"),
        "x-llmgate-policy-version": told.get("policy_version"),
        "x-llmgate-rule": told.get("rule"),
        "x-llmgate-experiments": _listed(told.get("experiments")),
        "x-llmgate-dropped": _listed(told.get("dropped")),
    }
    return {name: _header(value) for name, value in named.items() if value is not None}


def _listed(pairs: Any) -> str | None:
    """ "tone=b, size=a"."""
    return ", ".join(f"{name}={value}" for name, value in pairs.items()) if pairs else None


def _header(value: Any) -> str:
    """As much of it as a header can hold."""
    return str(value).encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")[:256]
