"""Text and JSON that every database takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

__all__ = ["dump_json", "json_bytes", "plain_text", "plain_texts", "quick_json"]


def plain_text(text: Any) -> Any:
    """Text that every database takes: no half surrogates and no NUL; None stays None."""
    if text is None:
        return None
    if type(text) is not str:
        text = str(text)
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def plain_texts(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The same of what is known of several columns; what is None is left out."""
    return {column: plain_text(text) for column, text in columns.items() if text is not None}


def dump_json(value: Any) -> str:
    """JSON that every reader takes: without NaN and infinities (null), keys are text."""
    if not value and isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    return json_bytes(value).decode()


def json_bytes(value: Any) -> bytes:
    """The same as UTF-8."""
    try:
        text = quick_json()(value)
    except (TypeError, ValueError):  # not JSON, half a surrogate, or a number of more than 64 bits
        return _sure()(_json_value(value))
    if b"\\u0000" in text:  # what is in there may not be text to every database
        return _sure()(_json_value(value))
    return text


@cache
def quick_json() -> Callable[[Any], bytes]:
    """orjson's, in a quarter of the time of pydantic's; the latter where there is none."""
    try:
        from orjson import dumps  # needed only where rows are written
    except ImportError:
        return _sure()
    return dumps


@cache
def _sure() -> Callable[[Any], bytes]:
    """pydantic's, which takes numbers of any size, in a third of the time of Python's own."""
    from pydantic_core import to_json

    return partial(to_json, inf_nan_mode="null")


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
