"""What an attempt will cost, before it is sent."""

from __future__ import annotations

from typing import Any, Final

from llmgate_plugins.types import Deployment, LazyMessages, Request

__all__ = ["USUAL_OUTPUT", "longest_answer", "probable_cost", "worst_cost"]

USUAL_OUTPUT: Final = 256
"""Output tokens of an answer whose length nobody bounds."""
USUAL_MESSAGE: Final = 100
"""Tokens of a message that nobody has read yet."""
ATTACHMENT: Final = 2_000
"""Tokens that an image or a file is at most expected to take."""


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
    tokens = sum(_most_tokens(message.content) + 16 for message in request.messages)
    for name in ("tools", "response_format", "input"):
        if (value := request.params.get(name)) is not None:
            tokens += _most_tokens(str(value))
    if deployment.context_window is not None:
        tokens = min(tokens, deployment.context_window)
    output = 0 if request.operation == "embedding" else _bound(deployment, request, assume_output)
    answers = request.params.get("n")
    if isinstance(answers, int) and answers > 1:
        output *= answers
    picos = tokens * max(price.input, price.cache_write) + output * max(price.output, price.reasoning)
    return -(-picos // 1_000_000)


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


def _most_tokens(content: Any) -> int:
    """ASCII rarely has more than a token per two characters; other text up to one per byte."""
    if isinstance(content, str):
        return (len(content) + 1) // 2 if content.isascii() else len(content.encode("utf-8", "replace"))
    total = 0
    for part in content:
        text = part.get("text")
        total += _most_tokens(text) if isinstance(text, str) else ATTACHMENT
    return total
