"""What an attempt will cost, before it is sent."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.types import INPUT_BUCKETS, OUTPUT_BUCKETS, Deployment, LazyMessages, Request
from llmgate_plugins.usage import USUAL_OUTPUT, expected_output, longest_answer, most_input, tier_of

__all__ = [
    "USUAL_OUTPUT",
    "longest_answer",
    "probable_cost",
    "probable_price",
    "probable_tokens",
    "worst_cost",
    "worst_price",
    "worst_tokens",
]

USUAL_MESSAGE: Final = 100
"""Tokens of a message that nobody has read yet."""


def probable_cost(deployment: Deployment, request: Request) -> int:
    """Nano-dollars, cheaply: messages that are not read yet are only counted."""
    if deployment.price is None:
        return 0
    return probable_price(deployment, *probable_tokens(deployment, request))


def probable_price(deployment: Deployment, read: int, written: int) -> int:
    """Nano-dollars that so many tokens cost at the plain price; 0 where none is known."""
    price = deployment.price
    return 0 if price is None else -(-(read * price.input + written * price.output) // 1_000_000)


def probable_tokens(deployment: Deployment, request: Request) -> tuple[int, int]:
    """(input, output), cheaply: messages that are not read yet are only counted."""
    messages = request.messages
    tokens = 0
    if isinstance(messages, LazyMessages):
        tokens = len(messages.native) * USUAL_MESSAGE
    else:
        for message in messages:
            content = message.content
            tokens += len(content) >> 2 if isinstance(content, str) else USUAL_MESSAGE * len(content)
    return tokens, expected_output(deployment, request)


def worst_cost(deployment: Deployment, request: Request, *, assume_output: int) -> int:
    """Nano-dollars, as much as it can cost in practice. Reads the messages.

    Args:
        assume_output: Output tokens where the request does not bound them.
    """
    if deployment.price is None:
        return 0
    return worst_price(deployment, request, *worst_tokens(deployment, request, assume_output=assume_output))


def worst_tokens(deployment: Deployment, request: Request, *, assume_output: int) -> tuple[int, int]:
    """(input, output), as many as there can be in practice. Reads the messages.

    Args:
        assume_output: Output tokens where the request does not bound them.
    """
    tokens = most_input(request, deployment)
    if deployment.context_window is not None:
        tokens = min(tokens, deployment.context_window)
    return tokens, expected_output(deployment, request, assume_output)


def worst_price(deployment: Deployment, request: Request, read: int, written: int) -> int:
    """Nano-dollars that so many tokens cost at the dearest price that may apply to them.

    Sound, pictures and caches that keep for an hour count where the request has parts that may
    be such, or asks for other answers than text.
    """
    price = deployment.price
    if price is None:
        return 0
    params = request.params
    word = params.get("service_tier")
    variant = "" if word is None else tier_of(word)
    if params.get("modalities") is None:
        for message in request.messages:
            if not isinstance(message.content, str):
                break
        else:
            return price.worst(read, written, variant)
    prices = (price, price.at(read, variant))
    dearest = max(getattr(one, bucket) for one in prices for bucket in INPUT_BUCKETS)
    longest = max(getattr(one, bucket) for one in prices for bucket in OUTPUT_BUCKETS)
    return int(-(-(read * dearest + written * longest) // 1_000_000))
