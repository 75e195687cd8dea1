"""How long an inner model's client is told to wait, call by call, as far as its package lets it be told."""

from __future__ import annotations

import importlib
import math
from functools import lru_cache
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from langchain_llmgate._vocabulary import TAKES_TIMEOUT
from llmgate_plugins.types import Attempt

__all__ = ["Patience"]

SDK_READ: Final = 600.0
SDK_CONNECT: Final = 5.0
"""What the clients of OpenAI and Anthropic wait for by themselves, in seconds."""
SHORTEST: Final = 0.001
CLIENT_PER_TIMEOUT: Final = "litellm"
"""It makes and keeps a client for every timeout it has seen, so that it gets round numbers only."""


class Patience:
    """The timeouts of one inner model.

    What the application set on the model itself still holds where it is shorter. A model
    that was given a timeout object of its own has its phases kept one by one.

    Args:
        family: Which client it calls; "" for one that cannot be told per call.
    """

    __slots__ = ("_kind", "_own_connect", "_own_read", "_round", "_told")

    def __init__(self, model: BaseChatModel, family: str) -> None:
        self._told = family in TAKES_TIMEOUT
        self._round = family == CLIENT_PER_TIMEOUT
        self._own_connect, self._own_read = _own(model)
        self._kind = family

    def of(self, attempt: Attempt, now: float | None, *, stream: bool, whole: bool) -> Any:
        """A timeout for one attempt; None to leave the client's own.

        Args:
            now: Monotonic seconds; None if the deadline is not known.
            stream: Whether the answer is read in pieces.
            whole: The client has to keep the limit for a first token, or of a gap, too. It has
                one limit for each read, so that the longer of the two has to do for both.
        """
        if not self._told:
            return None
        limits, read = attempt.limits, self._own_read
        if whole:
            patience = limits.first_token
            if patience is not None and stream:
                patience = None if limits.gap is None else max(patience, limits.gap)
            if patience is not None and patience < read:
                read = patience
        if now is not None and attempt.deadline is not None and attempt.deadline - now < read:
            read = max(attempt.deadline - now, SHORTEST)
        connect = self._own_connect
        if limits.connect is not None and limits.connect < connect:
            connect = limits.connect
        if read == self._own_read and connect == self._own_connect:
            return None
        if self._round and read != math.inf:
            read = _rounded(read)
        connect = min(connect, read)
        return _timeout(self._kind)(
            None if read == math.inf else read, connect=None if connect == math.inf else connect
        )


def _own(model: BaseChatModel) -> tuple[float, float]:
    """Seconds to connect and to read that the model's client keeps by itself; infinite for none."""
    for name in ("request_timeout", "default_request_timeout", "timeout"):
        own = getattr(model, name, None)
        if isinstance(own, int | float):
            return (float(own), float(own)) if own > 0 else (SDK_CONNECT, SDK_READ)
        if isinstance(own, tuple):  # (connect, read), as httpx takes it
            return _seconds(own[0]), _seconds(own[1] if len(own) > 1 else None)
        if own is not None:
            return _seconds(getattr(own, "connect", None)), _seconds(getattr(own, "read", None))
    return SDK_CONNECT, SDK_READ


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.inf


@lru_cache(maxsize=8)
def _timeout(family: str) -> Any:
    """The client's own class for timeouts: newer ones come without httpx."""
    return importlib.import_module("httpx" if family == "litellm" else family).Timeout


def _rounded(seconds: float) -> float:
    """Down to two digits, so that what is left of a deadline is one of a few hundred values."""
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(math.floor(seconds / step) * step, 6)
