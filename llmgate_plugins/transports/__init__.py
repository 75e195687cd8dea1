"""How a gateway without a host sends its calls."""

from __future__ import annotations

from llmgate_plugins.transports.by_provider import ByProvider, default_transport
from llmgate_plugins.transports.openai import OpenAITransport

__all__ = ["ByProvider", "OpenAITransport", "default_transport"]
