"""What an error says, without words of the prompt, which providers and plugins repeat: records are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmgate_plugins.masking import MASK
from llmgate_plugins.types import Request
from llmgate_plugins.usage.estimating import read_beside

__all__ = ["said_by"]

LONGEST: Final = 4_000
"""Characters of an error that are kept: some servers repeat all that they were sent."""
_BLOCK: Final = 12
_SHORTEST: Final = 2 * _BLOCK - 1
"""What both have in common of so many characters is found, wherever it stands."""
_WHOLE: Final = 8
"""A whole text of so many is looked for as such; shorter ones are words like any other."""
_DEEPEST: Final = 8
_DATA: Final = "data:"
"""How a picture begins that is no text."""


def said_by(error: BaseException, request: Request) -> str:
    """Its kind and its words, those masked that stand in the request as well."""
    words = str(error)
    if len(words) > LONGEST:
        words = f"{words[:LONGEST]}..."
    escaped = "\\" in words
    spans = sorted({span for text in _texts(request, escaped) for span in _common(words, text)})
    left, done = [], 0
    for start, end in spans:
        if start >= done:
            left += [words[done:start], MASK]
        done = max(done, end)
    return f"{type(error).__name__}: {''.join((*left, words[done:]))}"


def _texts(request: Request, escaped: bool) -> Iterator[str]:
    """All that the model was to read, as it is and, where need be, as it stands in JSON or in Python."""
    for text in _plain_texts(request):
        if text.startswith(_DATA):
            continue
        yield text
        if not escaped:  # then the same stands between its signs
            continue
        for form in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]):
            if form != text:
                yield form


def _plain_texts(request: Request) -> Iterator[str]:
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            yield from _strings(message.content)
        for call in message.tool_calls:
            yield call.arguments
    yield from _strings(list(read_beside(request, request.params)))


def _strings(value: Any, depth: int = _DEEPEST) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, depth - 1)


def _common(words: str, text: str) -> Iterator[tuple[int, int]]:
    """Where in the words something of this text stands."""
    if len(text) < _SHORTEST:
        at = words.find(text) if len(text) >= _WHOLE else -1
        while at >= 0:
            yield at, at + len(text)
            at = words.find(text, at + 1)
        return
    at = 0
    while at + _BLOCK <= len(words):
        found = text.find(words[at : at + _BLOCK])
        if found < 0:
            at += _BLOCK
            continue
        start, end = _grown(words, text, at, found)
        if end - start >= _SHORTEST or end - start == len(text):
            yield start, end
        at = max(end, at + _BLOCK)


def _grown(words: str, text: str, at: int, found: int) -> tuple[int, int]:
    """As far as both say the same around a block that they have in common."""
    start, end, before, after = at, at + _BLOCK, found, found + _BLOCK
    while start and before and words[start - 1] == text[before - 1]:
        start, before = start - 1, before - 1
    while end < len(words) and after < len(text) and words[end] == text[after]:
        end, after = end + 1, after + 1
    return start, end
