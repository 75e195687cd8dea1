"""How a gateway without a host sends its calls."""

from __future__ import annotations

from llmgate_plugins.transports.by_provider import ByProvider, default_transport
from llmgate_plugins.transports.openai import OpenAITransport
from llmgate_plugins.transports.time_allowed import TimeAllowed, seconds_allowed, time_allowed

__all__ = [
    "ByProvider",
    "OpenAITransport",
    "TimeAllowed",
    "default_transport",
    "seconds_allowed",
    "time_allowed",
]
