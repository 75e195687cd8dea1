"""How long an answer will be, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import Deployment, Request

__all__ = [
    "USUAL_OUTPUT",
    "allowed_output",
    "expected_output",
    "longest_answer",
    "merged_params",
    "sent_params",
]

USUAL_OUTPUT: Final = 256
"""Output tokens of an answer whose length nobody bounds."""


_LENGTHS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""The words for how long an answer may be. The first that is given counts."""


def merged_params(fixed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A call's parameters over those of its deployment.

    A length that the call gives replaces the deployment's, in whichever word either says it.
    """
    merged = {**fixed, **given}
    if any(given.get(name) is not None for name in _LENGTHS):
        for name in _LENGTHS:
            if name in fixed and given.get(name) is None:
                del merged[name]
    return merged


def sent_params(deployment: Deployment, request: Request) -> Mapping[str, Any]:
    """What is asked of the provider: by the call, else by the configuration, in `extra_body` or plainly."""
    fixed, given = deployment.params, request.params
    params = merged_params(fixed, given) if fixed else given
    extra = params.get("extra_body")
    return {**params, **extra} if isinstance(extra, Mapping) else params


def allowed_output(params: Mapping[str, Any]) -> int | None:
    """Output tokens that these parameters allow; None if they do not say."""
    value = next((value for name in _LENGTHS if (value := params.get(name))), None)
    return value if isinstance(value, int) and value > 0 else None


def longest_answer(deployment: Deployment, request: Request) -> int | None:
    """Output tokens that the request or else the configuration allows; None if neither says."""
    return allowed_output(sent_params(deployment, request))


def expected_output(deployment: Deployment, request: Request, otherwise: int = USUAL_OUTPUT) -> int:
    """Output tokens of all answers asked for: as many as are allowed, else as usual.

    Args:
        otherwise: For an answer whose length nobody bounds; or what the model can write at
            most, if that is less.
    """
    if request.operation == "embedding":
        return 0
    params = sent_params(deployment, request)
    tokens = allowed_output(params)
    if tokens is None:
        most = deployment.max_output
        tokens = otherwise if most is None or otherwise < most else most
    answers = params.get("n")
    return tokens * answers if isinstance(answers, int) and answers > 1 else tokens
