"""Endpoints of other shapes than chat's: how answers are read, changed, made, and followed as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from litellm_llmgate.endpoints.endpoint import Endpoint
from litellm_llmgate.endpoints.google import GenerateContent
from litellm_llmgate.endpoints.messages import Messages
from litellm_llmgate.endpoints.responses import Responses
from litellm_llmgate.endpoints.text import TextCompletion

__all__ = ["ENDPOINTS"]

ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "generate_content": GenerateContent(),
    "messages": Messages(),
    "responses": Responses(),
    "text": TextCompletion(),
}
"""By operation: those whose answers have words."""
