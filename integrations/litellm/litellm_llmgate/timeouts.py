"""Timeouts that LiteLLM can bear: it makes and keeps a client for every value it has seen."""

from __future__ import annotations

import math

__all__ = ["rounded"]

SHORTEST = 0.001


def rounded(seconds: float) -> float:
    """Down to two digits, so that what is left of a deadline is one of a few hundred values."""
    seconds = max(seconds, SHORTEST)
    step = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(math.floor(seconds / step) * step, 6)
