"""What an attempt will cost, before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.types import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    Deployment,
    LazyMessages,
    Request,
    Usage,
)
from llmgate_plugins.usage import (
    USUAL_OUTPUT,
    WORDLESS,
    estimate_beside,
    expected_output,
    longest_answer,
    most_input,
    quoted,
    sent_params,
    tier_asked,
)

__all__ = [
    "USUAL_OUTPUT",
    "longest_answer",
    "probable_cost",
    "probable_price",
    "probable_tokens",
    "quoted_cost",
    "worst_cost",
    "worst_price",
    "worst_tokens",
]

PER_MESSAGE: Final = 16
USUAL_MESSAGE: Final = 100
"""Tokens of a message that nobody has read yet."""

_KEPT: Final = frozenset({"cache_control", "cache_control_injection_points"})
_KEEPING: Final = _KEPT | {"tools", "system"}


def quoted_cost(deployment: Deployment, usage: Usage) -> int:
    """Nano-dollars for what the host says, as it will be booked."""
    price = deployment.price
    if usage.charged is not None and (price is None or not price.tells(usage)):
        return usage.charged
    return 0 if price is None else price.at(usage.total_input, usage.tier).cost(usage)


def probable_cost(deployment: Deployment, request: Request) -> int:
    """Nano-dollars, cheaply: messages that are not read yet are only counted."""
    if (quote := quoted(deployment, request)) is not None:
        return quoted_cost(deployment, quote.probable)
    if deployment.price is None:
        return 0
    sent = sent_params(deployment, request)
    return probable_price(deployment, sent, *probable_tokens(deployment, request, sent))


def probable_price(deployment: Deployment, sent: Mapping[str, Any], read: int, written: int) -> int:
    """Nano-dollars that so many tokens cost, served as asked for; 0 where no price is known."""
    price = deployment.price
    if price is None:
        return 0
    if price.tiers:
        price = price.at(read, tier_asked(sent))
    return -(-(read * price.input + written * price.output) // 1_000_000)


def probable_tokens(
    deployment: Deployment, request: Request, sent: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """(input, output), cheaply: messages that are not read yet are only counted."""
    messages = request.messages
    tokens = 0
    if isinstance(messages, LazyMessages):
        tokens = len(messages.native) * USUAL_MESSAGE
    else:
        for message in messages:
            content = message.content
            tokens += len(content) >> 2 if isinstance(content, str) else USUAL_MESSAGE * len(content)
    if not messages:
        tokens = estimate_beside(request)
    return tokens, expected_output(deployment, request, sent=sent)


def worst_cost(deployment: Deployment, request: Request, *, assume_output: int) -> int:
    """Nano-dollars, as much as it can cost in practice. Reads the messages.

    Args:
        assume_output: Output tokens where the request does not bound them.
    """
    if (quote := quoted(deployment, request)) is not None:
        return quoted_cost(deployment, quote.most)
    if deployment.price is None:
        return 0
    sent = sent_params(deployment, request)
    tokens = worst_tokens(deployment, request, sent, assume_output=assume_output)
    return worst_price(deployment, request, sent, *tokens)


def worst_tokens(
    deployment: Deployment,
    request: Request,
    sent: Mapping[str, Any],
    *,
    assume_output: int,
    prefill: str | None = None,
) -> tuple[int, int]:
    """(input, output), as many as there can be in practice. Reads the messages.

    Args:
        sent: What `sent_params` says of both.
        assume_output: Output tokens where the request does not bound them.
        prefill: The beginning of the answer, where the model is given one to go on from.
    """
    tokens = most_input(request, deployment, sent)
    if prefill is not None:
        tokens += PER_MESSAGE + len(prefill.encode("utf-8", "replace"))
    window = deployment.context_window
    if window is not None and request.operation not in WORDLESS:  # whose inputs have a window each
        tokens = min(tokens, window)
    written = expected_output(deployment, request, assume_output, sent)
    if "context_management" in sent and "compact" in str(sent["context_management"]):
        return 2 * tokens, 2 * written  # it may read all of it and write a summary first
    return tokens, written


def worst_price(
    deployment: Deployment, request: Request, sent: Mapping[str, Any], read: int, written: int
) -> int:
    """Nano-dollars that so many tokens cost at the dearest price that may apply to them.

    Sound, pictures and caches that keep for an hour count where the request has parts that may
    be such, asks for other answers than text, or says itself what is to be kept.

    Args:
        sent: What `sent_params` says of both.
    """
    price = deployment.price
    if price is None:
        return 0
    variant = tier_asked(sent)
    if sent.get("modalities") is None and not _may_keep(sent):
        for message in request.messages:
            if not isinstance(message.content, str):
                break
        else:
            return price.worst(read, written, variant)
    prices = price.possible(read, variant)
    dearest = max(getattr(one, bucket) for one in prices for bucket in INPUT_BUCKETS)
    longest = max(getattr(one, bucket) for one in prices for bucket in OUTPUT_BUCKETS)
    return int(-(-(read * dearest + written * longest) // 1_000_000))


def _may_keep(params: Mapping[str, Any]) -> bool:
    """Whether what stands beside the messages says what the provider's cache is to keep, and how long."""
    if _KEEPING.isdisjoint(params):
        return False
    if not _KEPT.isdisjoint(params) or isinstance(params.get("system"), list | tuple):
        return True
    return any(
        "cache_control" in tool or "cache_control" in (tool.get("function") or ())
        for tool in params.get("tools") or ()
        if isinstance(tool, Mapping)
    )
