"""What is asked of a provider, by the call or by the deployment's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import Deployment, Request

__all__ = ["allowed_output", "answers_of", "merged_params", "sent_params"]

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


def answers_of(params: Mapping[str, Any]) -> int:
    """How many answers these parameters ask for."""
    answers = params.get("n")
    return answers if isinstance(answers, int) and answers > 1 else 1
