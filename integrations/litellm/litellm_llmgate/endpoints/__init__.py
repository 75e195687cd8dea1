"""Endpoints of other shapes than chat's: how answers are read, changed, made, and followed as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from litellm_llmgate.endpoints.by_the_piece import Moderation, Pages, Rerank, Videos
from litellm_llmgate.endpoints.endpoint import Endpoint, Media, Worded
from litellm_llmgate.endpoints.google import GenerateContent
from litellm_llmgate.endpoints.images import Images
from litellm_llmgate.endpoints.messages import Messages
from litellm_llmgate.endpoints.responses import Responses
from litellm_llmgate.endpoints.sound import Speech, Transcription
from litellm_llmgate.endpoints.text import TextCompletion

__all__ = ["ENDPOINTS", "MEDIA", "WORDED"]

ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "generate_content": GenerateContent(),
    "messages": Messages(),
    "responses": Responses(),
    "text": TextCompletion(),
}
"""By operation: those whose answers can come in pieces."""

_TRANSCRIPTION: Final = Transcription()

WORDED: Final[Mapping[str, Worded]] = {**ENDPOINTS, "transcription": _TRANSCRIPTION}
"""Those whose answers have words."""

MEDIA: Final[Mapping[str, Media]] = {
    "image_edit": Images("aimage_edit"),
    "image_generation": Images("aimage_generation"),
    "moderation": Moderation(),
    "ocr": Pages(),
    "rerank": Rerank(),
    "speech": Speech(),
    "transcription": _TRANSCRIPTION,
    "video_generation": Videos(),
}
"""Those whose money is not by the tokens of a text."""
