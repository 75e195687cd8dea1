"""What a call is expected to read, to write and to cost at a deployment, by what was seen so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmgate_plugins.plugins.estimates import USUAL_MESSAGE
from llmgate_plugins.plugins.observations import USUAL_OUTPUT, Lengths, Observations
from llmgate_plugins.types import Deployment, LazyMessages, Price, Request
from llmgate_plugins.usage import (
    WORDLESS,
    allowed_output,
    answers_of,
    as_sent,
    estimate_beside,
    sent_params,
    tier_asked,
)

__all__ = ["Asked", "asked_at", "asked_of", "cost_of", "expected_cost"]

USUAL_TOOL: Final = 100
"""Tokens of the definition of a tool."""


class Asked(NamedTuple):
    """What is known of a call before it is known where it goes.

    Attributes:
        read: Input tokens, estimated: a quarter of the characters.
        most: Output tokens that are allowed; None if nobody says.
        answers: How many answers are asked for.
        tier: How it is to be served, as the tiers of a `Price` name it.
        feature: For which feature of the application.
        general: Output tokens that answers of this alias have, whoever writes them.
    """

    read: int
    most: int | None
    answers: int
    tier: str
    feature: str | None
    general: float


def asked_of(request: Request, alias: str, feature: str | None, observations: Observations | None) -> Asked:
    """What the request says, and what answers to such requests are like."""
    lengths = None if observations is None else observations.lengths_of_alias(alias)
    general = float(USUAL_OUTPUT) if lengths is None else lengths.expected(feature)
    params = request.params
    return Asked(_read(request), *_terms(as_sent(params) if params else params, request), feature, general)


def asked_at(deployment: Deployment, request: Request, asked: Asked) -> Asked:
    """The same with what the configuration of this deployment says of its own."""
    if not deployment.params:
        return asked
    most, answers, tier = _terms(sent_params(deployment, request), request)
    return asked._replace(most=most, answers=answers, tier=tier)


def _terms(sent: Mapping[str, Any], request: Request) -> tuple[int | None, int, str]:
    if not sent:
        return (0 if request.operation in WORDLESS else None), 1, ""
    most = 0 if request.operation in WORDLESS else allowed_output(sent)
    return most, answers_of(sent), tier_asked(sent)


def expected_cost(
    deployment: Deployment, request: Request, feature: str | None, observations: Observations | None
) -> float | None:
    """Nano-dollars that this call is expected to cost at this deployment; None without a price."""
    if deployment.price is None:
        return None
    asked = asked_at(deployment, request, asked_of(request, deployment.alias, feature, observations))
    lengths = None if observations is None else observations.lengths(deployment.provider, deployment.model)
    return cost_of(deployment, deployment.price, lengths, asked)[0]


def cost_of(
    deployment: Deployment, price: Price, lengths: Lengths | None, asked: Asked
) -> tuple[float, float]:
    """(nano-dollars, output tokens) to be expected."""
    written = written_by(deployment, lengths, asked)
    read = asked.read
    if price.tiers:
        price = price.at(read, asked.tier)
    rate: float = price.input
    if lengths is not None and lengths.cached.count:
        cached, kept = lengths.cached.mean, lengths.written.mean
        rate += cached * (price.cached_input - price.input) + kept * (price.cache_write - price.input)
    return (read * rate + written * asked.answers * price.output) / 1_000_000, written


def written_by(deployment: Deployment, lengths: Lengths | None, asked: Asked) -> float:
    """Output tokens to be expected of one answer."""
    written = asked.general if lengths is None else lengths.expected(asked.feature, asked.general)
    most = asked.most
    if most is None:
        most = deployment.max_output
    return written if most is None or written < most else most


def _read(request: Request) -> int:
    """Input tokens, without reading what a host has not read: a quarter of the characters."""
    characters = others = 0
    messages = request.messages
    if isinstance(messages, LazyMessages):
        for native in messages.native:
            content: Any = (
                native.get("content") if isinstance(native, Mapping) else getattr(native, "content", None)
            )
            if type(content) is str:
                characters += len(content)
            else:
                others += 1
    else:
        for message in messages:
            content = message.content
            if type(content) is str:
                characters += len(content)
            else:
                for part in content:
                    text = part.get("text")
                    if type(text) is str:
                        characters += len(text)
                    else:
                        others += 1
    if not messages:
        return estimate_beside(request)
    tokens = (characters >> 2) + others * USUAL_MESSAGE
    tools = request.params.get("tools") if request.params else None
    return tokens + len(tools) * USUAL_TOOL if tools else tokens
