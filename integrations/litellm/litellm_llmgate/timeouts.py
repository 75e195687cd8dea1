"""Timeouts that LiteLLM can bear: it makes and keeps a client for every value it has seen."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import httpx
from litellm.utils import supports_httpx_timeout

from llmgate_plugins.types import Attempt

__all__ = ["client_timeout", "rounded"]

SHORTEST: Final = 0.001
LITELLMS_OWN: Final = 600.0
"""What LiteLLM waits for where nobody says anything, in seconds."""
PHASED: Final = frozenset({"chat", "embedding", "text"})
"""Operations that take an `httpx.Timeout`. For all others LiteLLM wants a number, and refuses the call."""


def rounded(seconds: float) -> float:
    """Down to two digits, so that what is left of a deadline is one of a few hundred values."""
    seconds = max(seconds, SHORTEST)
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(math.floor(seconds / step) * step, 6)


def client_timeout(
    attempt: Attempt,
    configured: float | None,
    *,
    now: float,
    stream: bool,
    in_thread: bool,
    operation: str = "chat",
) -> float | httpx.Timeout | None:
    """What LiteLLM's client shall wait for in this attempt; None to leave it as it is.

    In an event loop the gateway itself keeps the time, and the client that of connecting. In
    a thread only the client can. It has one limit for each read, and so the longest of
    the phases' limits has to do for all of them.

    Args:
        configured: Seconds by the application's configuration.
        now: Monotonic seconds.
    """
    seconds = configured
    if in_thread:
        allowed = _allowed(attempt, now, stream=stream)
        if allowed is not None and (configured is None or allowed <= configured):
            seconds = rounded(allowed)
    connect = attempt.limits.connect
    if connect is not None and operation in PHASED and _has_phases(attempt.deployment.provider):
        return _phased(LITELLMS_OWN if seconds is None else float(seconds), connect)
    return None if seconds is configured else seconds


def _allowed(attempt: Attempt, now: float, *, stream: bool) -> float | None:
    """Seconds that one read may take; None for no limit."""
    limits = attempt.limits
    patience = limits.first_token
    if patience is not None and stream and limits.gap is not None:
        patience = max(patience, limits.gap)
    remaining = None if attempt.deadline is None else attempt.deadline - now
    return min((one for one in (patience, remaining) if one is not None), default=None)


@lru_cache(maxsize=256)
def _has_phases(provider: str) -> bool:
    """Whether LiteLLM hands an `httpx.Timeout` on to this provider's client."""
    return bool(supports_httpx_timeout(provider))


@lru_cache(maxsize=1024)
def _phased(seconds: float, connect: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(connect, seconds))
