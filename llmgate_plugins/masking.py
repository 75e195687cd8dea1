"""Mask known secrets in text, in whatever form they were written there."""

from __future__ import annotations

import base64
import html
import json
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "SHORTEST", "conceal", "scrub"]

MASK: Final = "****"
SHORTEST: Final = 8
"""Shorter values are left alone: masking them would destroy ordinary words."""
MOST_KNOWN: Final = 4096
"""So many values are known at once; the one that was used least recently is forgotten first."""

_lock = threading.Lock()
_known: dict[str, tuple[str, ...]] = {}
"""Secret -> the forms it may stand in."""
_by_head: dict[str, tuple[str, ...]] = {}
"""The first characters of a form -> the forms that begin so: finding takes no longer with more of them."""


def conceal(value: str) -> None:
    """Have `scrub` mask this from now on. `Secret.reveal` does so by itself."""
    if len(value) < SHORTEST:
        return
    with _lock:
        forms = _known.pop(value, None)
        if forms is None:
            while len(_known) >= MOST_KNOWN:
                _forget(next(iter(_known)))
            forms = _forms(value)
            for form in forms:
                head = form[:SHORTEST]
                _by_head[head] = (*_by_head.get(head, ()), form)
        _known[value] = forms


def scrub(text: str, *, also: Iterable[str] = ()) -> str:
    """The text with every secret masked that was revealed or concealed in this process.

    Masked are the secret itself, its URL-encoded, JSON-escaped, HTML-escaped and base64
    forms. Values shorter than eight characters are left alone.

    Args:
        also: Further values to mask in this text.
    """
    further = tuple(form for value in also if len(value) >= SHORTEST for form in _forms(value))
    while True:
        spans = sorted({span for form in (*_present(text), *further) for span in _places(form, text)})
        if not spans:
            return text
        text = _without(text, spans)  # shorter by each mask, so this ends


def _present(text: str) -> list[str]:
    """Known forms that may be in a text. Few are each looked for; of many, those whose head is there."""
    if len(_by_head) * 32 > len(text):
        pieces = [text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)]
        heads = [piece for piece in pieces if piece in _by_head]
    else:
        heads = [head for head in list(_by_head) if head in text]
    return [form for head in dict.fromkeys(heads) for form in _by_head.get(head, ())]


def _places(form: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Each run of spans that overlap or touch becomes one mask, so that no end of a secret is left."""
    left: list[str] = []
    done = 0
    for start, end in spans:
        if start > done or not left:
            left += [text[done:start], MASK]
        done = max(done, end)
    return "".join((*left, text[done:]))


@lru_cache(maxsize=64)
def _forms(value: str) -> tuple[str, ...]:
    raw = value.encode(errors="surrogatepass")
    plain = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    escaped = {json.dumps(form)[1:-1] for form in plain}  # JSON within JSON
    urls = {quote(raw), quote(raw, safe=""), quote_plus(raw)}
    found = {*plain, *escaped, *urls, *map(_lower_escapes, urls), html.escape(value), *_in_base64(raw)}
    return tuple(form for form in found if len(form) >= SHORTEST)


def _lower_escapes(text: str) -> str:
    first, *rest = text.split("%")
    return "%".join((first, *(piece[:2].lower() + piece[2:] for piece in rest)))


def _in_base64(raw: bytes) -> Iterator[str]:
    """What is certain of the base64 text wherever in the encoded bytes the secret begins."""
    for before in range(3):
        whole = (len(raw) + before) // 3 * 3 - before  # what follows shares its last characters
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + raw[:whole]).decode()[(0, 2, 3)[before] :]


def _forget(value: str) -> None:
    for form in _known.pop(value):
        head = form[:SHORTEST]
        forms = list(_by_head[head])
        forms.remove(form)
        if forms:
            _by_head[head] = tuple(forms)
        else:
            del _by_head[head]
