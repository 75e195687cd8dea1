"""Rate-limit smoothing: calls wait for their turn, in order, instead of being refused."""

from __future__ import annotations

from llmgate_plugins.plugins.smoothing.limits import LimitKind, RateLimit, RateLimitInForce
from llmgate_plugins.plugins.smoothing.plugin import RateLimits

__all__ = ["LimitKind", "RateLimit", "RateLimitInForce", "RateLimits"]
