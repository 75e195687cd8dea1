"""How long an answer will be, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import Deployment, Request

__all__ = ["USUAL_OUTPUT", "allowed_output", "expected_output", "longest_answer"]

USUAL_OUTPUT: Final = 256
"""Output tokens of an answer whose length nobody bounds."""


def allowed_output(params: Mapping[str, Any]) -> int | None:
    """Output tokens that these parameters allow; None if they do not say."""
    value = params.get("max_completion_tokens") or params.get("max_tokens")
    return value if isinstance(value, int) and value > 0 else None


def longest_answer(deployment: Deployment, request: Request) -> int | None:
    """Output tokens that the request or else the configuration allows; None if neither says."""
    for params in (request.params, deployment.params):
        if params and (tokens := allowed_output(params)) is not None:
            return tokens
    return None


def expected_output(deployment: Deployment, request: Request, otherwise: int = USUAL_OUTPUT) -> int:
    """Output tokens of all answers asked for: as many as are allowed, else as usual.

    Args:
        otherwise: For an answer whose length nobody bounds; or what the model can write at
            most, if that is less.
    """
    if request.operation == "embedding":
        return 0
    tokens = longest_answer(deployment, request)
    if tokens is None:
        most = deployment.max_output
        tokens = otherwise if most is None or otherwise < most else most
    answers = request.params.get("n")
    return tokens * answers if isinstance(answers, int) and answers > 1 else tokens
