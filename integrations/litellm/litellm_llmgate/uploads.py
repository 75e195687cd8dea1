"""Files that a call sends along: a file can be read once, and each attempt has to send all of it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["afresh", "kept"]

UPLOADS: Final[Mapping[str, tuple[str, ...]]] = {
    "image_edit": ("image", "mask"),
    "ocr": ("document",),
    "transcription": ("file",),
    "video_generation": ("input_reference",),
}
"""Operation -> the arguments that may be files."""


class Upload(io.BytesIO):
    """All that a file had to say, and its name if it had one."""

    def __init__(self, content: bytes, name: str | None) -> None:
        super().__init__(content)
        if name is not None:
            self.name = name


def kept(operation: str, kwargs: dict[str, Any]) -> None:
    """Read a call's files, so that they can be sent as often as need be."""
    _replace(operation, kwargs, _kept)


def afresh(operation: str, kwargs: dict[str, Any]) -> None:
    """Have a call send them from their beginning, whatever other attempts have read of them."""
    _replace(operation, kwargs, _afresh)


def _replace(operation: str, kwargs: dict[str, Any], change: Callable[[Any], Any]) -> None:
    for name in UPLOADS.get(operation, ()):
        if name in kwargs:
            kwargs[name] = _each(kwargs[name], change)


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Alone, one of several, within (name, content, type), or in a field."""
    if isinstance(value, list | tuple):
        return type(value)([_each(one, change) for one in value])
    if isinstance(value, dict):
        return {name: _each(one, change) for name, one in value.items()}
    return change(value)


def _kept(value: Any) -> Any:
    read = getattr(value, "read", None)
    if read is None or isinstance(value, Upload) or inspect.iscoroutinefunction(read):
        return value
    content, name = read(), getattr(value, "name", None)
    if isinstance(content, str):
        content = content.encode()
    return Upload(content, name if isinstance(name, str) else None)


def _afresh(value: Any) -> Any:
    return Upload(value.getvalue(), getattr(value, "name", None)) if isinstance(value, Upload) else value
