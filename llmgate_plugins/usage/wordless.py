"""Calls that no model answers with text of its own."""

from __future__ import annotations

from typing import Final

__all__ = ["WORDLESS"]

WORDLESS: Final = frozenset(
    {
        "embedding",
        "image_edit",
        "image_generation",
        "moderation",
        "ocr",
        "rerank",
        "speech",
        "transcription",
        "video_generation",
    }
)
"""Operations whose answers have no length that a call bounds, and whose inputs, where there are many, have
a context window each."""
