"""Server-sent events, as they come in pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from litellm_llmgate.endpoints.endpoint import Reading

__all__ = ["Events"]


class Events:
    """Reads events whose lines may be cut anywhere.

    Args:
        read_event: Reads one.
    """

    __slots__ = ("_left", "_read_event")

    def __init__(self, read_event: Callable[[Mapping[str, Any]], Reading]) -> None:
        self._left = b""
        self._read_event = read_event

    def read(self, piece: Any) -> Reading:
        """What the events say that are whole with this piece."""
        if isinstance(piece, Mapping):
            yield from self._read_event(piece)
            return
        *lines, self._left = (self._left + (piece.encode() if isinstance(piece, str) else piece)).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                try:
                    event = json.loads(line[5:])
                except ValueError:
                    continue
                if isinstance(event, Mapping):
                    yield from self._read_event(event)
