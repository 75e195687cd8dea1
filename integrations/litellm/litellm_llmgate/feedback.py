"""Feedback from LiteLLM: which call an answer of a router's, or a response of the proxy's, is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["HEADER", "call_id_of"]

HEADER: Final = "x-llmgate-call-id"
"""The header in which the proxy names the call."""


def call_id_of(answer: Any) -> str:
    """The id of the call that an answer is of, for `Gateway.feedback`.

    Args:
        answer: What a router with a gateway has answered, a stream included; a proxy's HTTP response,
            or its headers; or the id itself.

    Raises:
        ValueError: It does not say.
    """
    if isinstance(answer, str) and answer:
        return answer
    hidden = getattr(answer, "_hidden_params", None)
    told = hidden.get("llmgate") if isinstance(hidden, Mapping) else None
    if isinstance(told, Mapping) and told.get("call_id"):
        return str(told["call_id"])
    headers = getattr(answer, "headers", answer)
    found = headers.get(HEADER) if hasattr(headers, "get") else None
    if not found:
        raise ValueError(
            f"this {type(answer).__name__} does not say which call it is of: give an answer of a router "
            f"with a gateway, or a response that has the header {HEADER}"
        )
    return str(found)
