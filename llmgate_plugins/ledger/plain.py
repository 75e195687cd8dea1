"""Text and JSON that every database takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["dump_json", "plain_text"]


def plain_text(text: Any) -> Any:
    """Text that every database takes: no half surrogates and no NUL; None stays None."""
    if text is None:
        return None
    if type(text) is not str:
        text = str(text)
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def dump_json(value: Any) -> str:
    """JSON that every reader takes: without NaN and infinities (null), keys are text."""
    if value == {} or value == []:
        return str(value)
    try:
        text = _encode(value)
    except (TypeError, ValueError):
        return _encode(_json_value(value))
    if "\\u0000" in text or "\\ud" in text:  # what is in there may not be text to every database
        return _encode(_json_value(value))
    return text


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _json_value(value: Any) -> Any:
    if isinstance(value, str):
        return plain_text(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain_text(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json_value(item) for item in value]
    return str(value)
