"""What an attempt will cost, before it is sent."""

from __future__ import annotations

from typing import Any, Final

from llmgate_plugins.types import Deployment, LazyMessages, Request
from llmgate_plugins.usage import most_input, tier_of

__all__ = ["USUAL_OUTPUT", "longest_answer", "probable_cost", "worst_cost"]

USUAL_OUTPUT: Final = 256
"""Output tokens of an answer whose length nobody bounds."""
USUAL_MESSAGE: Final = 100
"""Tokens of a message that nobody has read yet."""


def probable_cost(deployment: Deployment, request: Request) -> int:
    """Nano-dollars, cheaply: messages that are not read yet are only counted."""
    price = deployment.price
    if price is None:
        return 0
    messages = request.messages
    tokens = 0
    if isinstance(messages, LazyMessages):
        tokens = len(messages.native) * USUAL_MESSAGE
    else:
        for message in messages:
            content = message.content
            tokens += len(content) >> 2 if isinstance(content, str) else USUAL_MESSAGE * len(content)
    output = 0 if request.operation == "embedding" else _bound(deployment, request, USUAL_OUTPUT)
    return -(-(tokens * price.input + output * price.output) // 1_000_000)


def worst_cost(deployment: Deployment, request: Request, *, assume_output: int) -> int:
    """Nano-dollars, as much as it can cost in practice. Reads the messages.

    Args:
        assume_output: Output tokens where the request does not bound them.
    """
    price = deployment.price
    if price is None:
        return 0
    tokens = most_input(request, deployment)
    if deployment.context_window is not None:
        tokens = min(tokens, deployment.context_window)
    output = 0 if request.operation == "embedding" else _bound(deployment, request, assume_output)
    answers = request.params.get("n")
    if isinstance(answers, int) and answers > 1:
        output *= answers
    return price.worst(tokens, output, tier_of(request.params.get("service_tier")))


def longest_answer(deployment: Deployment, request: Request) -> int | None:
    """Output tokens that the request or else the configuration allows; None if neither says."""
    for params in (request.params, deployment.params):
        if params:
            value: Any = params.get("max_completion_tokens") or params.get("max_tokens")
            if isinstance(value, int) and value > 0:
                return value
    return None


def _bound(deployment: Deployment, request: Request, otherwise: int) -> int:
    """The most output tokens that this request allows this deployment to write."""
    asked = longest_answer(deployment, request)
    if asked is not None:
        return asked
    most = deployment.max_output
    return otherwise if most is None or otherwise < most else most
