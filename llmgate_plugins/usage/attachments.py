"""Tokens of pictures, sounds and files in a message, by their size where it is known; nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ATTACHMENT_TOKENS", "attachment_tokens", "most_attachment_tokens", "picture_size"]

ATTACHMENT_TOKENS: Final = 1_000
"""What an attachment of unknown size is estimated at: the order of a large picture."""

_MOST: Final = 15_000
"""What an attachment of unknown size takes at most: a photo of 12 megapixels takes 14,364
tokens of GPT-6, 4,005 of Claude 5.5 and 1,100 of Gemini 3 (huggingface.co/datasets/
JOHNISKING/image-token-cost, as of 2026)."""
_LEAST_PICTURE: Final = 1_700
"""No model that fits pictures into a fixed frame takes more for a small one: 1,661 of Claude
4.5, 1,445 of GPT-4o, 1,101 of Gemini."""
_PATCH: Final = 32
_PER_PATCH: Final = 1.4
"""Tokens of 32 x 32 pixels at most: 1.37 of Claude (a token for 750 pixels), 1.2 of GPT."""
_DEARER: Final = {"gpt-4o-mini": 48_200, "nano": 3_800}
"""Models that count pictures many times over, so that they cost as much as with a larger one."""
_USUAL_PICTURE: Final = 3_000
_SOUND: Final = 64
"""Base64 characters of sound that are no more than one token: speech of 16 kbit/s, at
Gemini's 32 tokens a second."""
_HEADER: Final = 64 * 1024


def attachment_tokens(part: Mapping[str, Any]) -> int:
    """About how many tokens one content part that is not text has."""
    size = picture_size(part)
    if size is None:
        return ATTACHMENT_TOKENS
    return min(max(int(_patches(*size) * 1.2), 85), _USUAL_PICTURE)


def most_attachment_tokens(part: Mapping[str, Any], model: str = "") -> int:
    """How many tokens one content part that is not text has at most."""
    kind = part.get("type")
    if kind == "input_audio":
        return _LEAST_PICTURE + len(_data(part.get("input_audio"), "data")) // _SOUND
    if kind == "file":
        return max(_MOST, len(_data(part.get("file"), "file_data")) // 2)
    for name, most in _DEARER.items():
        if name in model:
            return most
    size = picture_size(part)
    if size is None:
        return _MOST
    return max(_LEAST_PICTURE, min(_MOST, int(_patches(*size) * _PER_PATCH) + 1))


def picture_size(part: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of a picture that is given as data (PNG, JPEG, GIF or WebP); None if not."""
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, Mapping) else url
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    start = url.find(",", 0, 200) + 1
    text = url[start : start + _HEADER]
    try:
        return _size(base64.b64decode(text[: len(text) // 4 * 4]))
    except (binascii.Error, ValueError, struct.error, IndexError):
        return None


def _data(value: Any, name: str) -> str:
    data = value.get(name) if isinstance(value, Mapping) else None
    return data if isinstance(data, str) else ""


def _patches(width: int, height: int) -> int:
    return -(-width // _PATCH) * -(-height // _PATCH)


def _size(head: bytes) -> tuple[int, int] | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return struct.unpack(">II", head[16:24])
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack("<HH", head[6:10])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_size(head)
    return _jpeg_size(head) if head.startswith(b"\xff\xd8") else None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", head[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """The first frame's; the segments before it are skipped."""
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None
