"""What is asked of a provider, by the call or by the deployment's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import Deployment, Quote, Request
from llmgate_plugins.usage.disjoint import MOST_TOKENS
from llmgate_plugins.usage.tiers import tier_of

__all__ = [
    "LENGTHS",
    "PRICED",
    "Said",
    "allowed_output",
    "answers_of",
    "as_sent",
    "merged_params",
    "quoted",
    "said_of_price",
    "sent_over",
    "sent_params",
    "tier_asked",
]

LENGTHS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""The words for how long an answer may be. The first that is given counts."""

MOST_ANSWERS: Final = 10_000
"""No call has more answers; what it is held for stays a number that books and states can keep."""

_TERMS: Final = (*LENGTHS, "n", "best_of", "service_tier", "speed", "inference_geo")
PRICED: Final = (
    *(*_TERMS, "extra_body", "modalities", "cache_control", "cache_control_injection_points"),
    *("context_management", "functions", "instructions", "response_format", "system", "tools"),
)
"""Parameters that decide what a call may cost, or are read beside its messages."""

Said = tuple[tuple[str, Any], ...]
"""Words and what they say, in a form that can be a key."""


def merged_params(fixed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A call's parameters over those of its deployment.

    A length that the call gives replaces the deployment's, in whichever word either says it.
    """
    merged = {**fixed, **given}
    if any(given.get(name) is not None for name in LENGTHS):
        for name in LENGTHS:
            if name in fixed and given.get(name) is None:
                del merged[name]
    return merged


def as_sent(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with what stands in `extra_body`, which is sent in its place."""
    extra = params.get("extra_body")
    return {**params, **extra} if isinstance(extra, Mapping) else params


def sent_params(deployment: Deployment, request: Request) -> Mapping[str, Any]:
    """What is asked of the provider: by the call, else by the configuration, in `extra_body` or plainly."""
    fixed, given = deployment.params, request.params
    return as_sent(merged_params(fixed, given) if fixed else given)


def quoted(deployment: Deployment, request: Request) -> Quote | None:
    """What the host says of a call whose text does not tell; None where it tells."""
    return None if request.quote is None else request.quote(deployment, request)


def allowed_output(params: Mapping[str, Any]) -> int | None:
    """Output tokens that these parameters allow, as far as anybody writes; None if they do not say."""
    value = next((value for name in LENGTHS if (value := params.get(name))), None)
    return min(value, MOST_TOKENS) if isinstance(value, int) and value > 0 else None


def answers_of(params: Mapping[str, Any]) -> int:
    """How many answers these parameters have a model write; of some it hands out fewer."""
    answers = params.get("n")
    if (best_of := params.get("best_of")) is not None and isinstance(best_of, int):
        answers = max(best_of, answers) if isinstance(answers, int) else best_of
    return min(answers, MOST_ANSWERS) if isinstance(answers, int) and answers > 1 else 1


def tier_asked(params: Mapping[str, Any]) -> str:
    """How these parameters ask to be served, as the tiers of a `Price` name it."""
    word, speed, place = params.get("service_tier"), params.get("speed"), params.get("inference_geo")
    return tier_of(word, speed=speed, place=place) if word or speed or place else ""


def said_of_price(params: Mapping[str, Any]) -> Said:
    """What of these parameters decides what a call costs."""
    if not params:
        return ()
    said: list[tuple[str, Any]] = [
        (name, value) for name in _TERMS if isinstance(value := params.get(name), int | str)
    ]
    extra = params.get("extra_body")
    if isinstance(extra, Mapping):
        said.append(("extra_body", said_of_price(extra)))
    return tuple(said)


def sent_over(fixed: Mapping[str, Any], said: Said) -> Mapping[str, Any]:
    """As `sent_params`, for what a call said of its price."""
    given = {name: dict(value) if name == "extra_body" else value for name, value in said}
    return as_sent(merged_params(fixed, given) if fixed else given)
