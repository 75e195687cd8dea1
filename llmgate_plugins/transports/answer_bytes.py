"""The bytes of an answer as they come: unpacked and bounded, repeated events left out."""

from __future__ import annotations

import re
import zlib
from typing import Any, Final, NoReturn

from llmgate_plugins.errors import ProviderError

__all__ = ["LARGEST", "AnswerBytes", "is_deep"]

LARGEST: Final = 128 * 1024 * 1024
"""Bytes of a whole answer, or of one event of a stream: twice the largest batch of embeddings."""
DEEPEST: Final = 100
"""How deep an answer's JSON may be nested. Real ones need less than 20."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(rb"[^\[\]{}]+")
_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_EVENT_ID: Final = re.compile(rb"(?:^|[\r\n])id: ?([^\r\n]+)")
_REMEMBERED: Final = 64


class AnswerBytes:
    """What comes of one response. What nobody should read is refused.

    Args:
        stream: Whether events are expected rather than one document.
        largest: Bytes of a document, or of one event.

    Attributes:
        refused: Why it was refused.
    """

    __slots__ = (
        *("_brackets", "_events", "_largest", "_pieces", "_seen", "_size", "_stream", "_unpack"),
        "refused",
    )

    def __init__(self, *, stream: bool, largest: int = LARGEST) -> None:
        self._stream = stream
        self._seen = False
        self._largest = largest
        self._size = self._brackets = 0
        self._pieces: list[bytes] = []
        self._unpack: Any = None
        self._events: _Events | None = None
        self.refused: ProviderError | None = None

    @property
    def unpacks(self) -> bool:
        """Whether what is read is no longer packed, though the headers say so."""
        return self._unpack is not None

    def begin(self, *, is_document: bool, packed: bool) -> None:
        """The headers have come.

        Args:
            is_document: It is one document, whatever was asked for.
            packed: It is packed by gzip, which is undone here, within the bounds.
        """
        self._stream = self._stream and not is_document
        if packed:
            self._unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def take(self, data: bytes) -> bytes:
        """The next bytes.

        Raises:
            ProviderError: There are too many.
        """
        if self._unpack is not None:
            data = self._unpacked(data)
        if self._stream:
            self._look_at_lines(data)
            if self._events is not None or (not self._seen and _EVENT_ID.search(data)):
                self._events = self._events or _Events()
                data = self._events.take(data)
            self._seen = True
        else:
            self._size += len(data)
            self._brackets += data.count(b"{") + data.count(b"[")
            self._pieces.append(data)
        if self._size > self._largest:
            self._refuse(f"the answer is larger than {self._largest} bytes")
        return data

    def _look_at_lines(self, data: bytes) -> None:
        """An event's data is a line; what is kept of it is the part that has come of an unfinished one."""
        self._brackets += data.count(b"{") + data.count(b"[")
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end == 0:
            self._size += len(data)
            self._pieces.append(data)
            return
        if self._brackets > DEEPEST:
            lines = b"".join((*self._pieces, data[:end])).splitlines()
            if any(line.count(b"{") + line.count(b"[") > DEEPEST and is_deep(line) for line in lines):
                self._refuse(f"the answer is nested deeper than {DEEPEST} levels")
        rest = data[end:]
        self._size = len(rest)
        self._brackets = rest.count(b"{") + rest.count(b"[") if rest else 0
        self._pieces = [rest] if rest else []

    def end(self) -> bytes:
        """All has come. Returns what is still to be read.

        Raises:
            ProviderError: It is nested too deep.
        """
        if not self._stream and self._brackets > DEEPEST and is_deep(b"".join(self._pieces)):
            self._refuse(f"the answer is nested deeper than {DEEPEST} levels")
        self._pieces.clear()
        return b"" if self._events is None else self._events.rest

    def _unpacked(self, data: bytes) -> bytes:
        room = self._largest + 1
        try:
            plain: bytes = self._unpack.decompress(data, room)
        except zlib.error:
            self._refuse("the answer is packed wrongly")
        if self._unpack.unconsumed_tail:
            self._refuse(f"the answer is larger than {self._largest} bytes")
        return plain

    def _refuse(self, why: str) -> NoReturn:
        self._pieces.clear()
        self.refused = ProviderError(why, code="bad_response")
        raise self.refused


class _Events:
    """Server-sent events that bear ids: one that comes again, id and all, is left out.

    Not where all of them bear the same id, which then is no event's.
    """

    __slots__ = ("_ids", "_seen", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._ids: set[bytes] = set()
        self._seen: dict[bytes, None] = {}

    def take(self, data: bytes) -> bytes:
        """The next bytes; returns the whole events among them that are new."""
        *events, self.rest = _EVENT_END.split(self.rest + data)
        return b"".join(event + b"\n\n" for event in events if not self._has_come(event))

    def _has_come(self, event: bytes) -> bool:
        named = _EVENT_ID.search(event)
        if named is None:
            return False
        if len(self._ids) < 2:
            self._ids.add(named[1])
        if event in self._seen and len(self._ids) > 1:
            return True
        self._seen[event] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False


def is_deep(document: bytes) -> bool:
    """Whether a JSON document is nested deeper than `DEEPEST`."""
    depth = 0
    for bracket in _NOT_BRACKETS.sub(b"", _STRING.sub(b"", document)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False
