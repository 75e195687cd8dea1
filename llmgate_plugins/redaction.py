"""Errors from a provider's client carry the request that was sent: take the credentials out of them."""

from __future__ import annotations

import contextlib
import re
import traceback
from typing import Any, Final

from llmgate_plugins.secrets import MASK, scrub

__all__ = ["redact_error"]

SENSITIVE: Final = re.compile(
    r"authorization|api[-_]?key|token|secret|password|cookie|signature", re.IGNORECASE
)
IN_URL: Final = re.compile(
    r"([?&](?:key|api[-_]?key|access_token|token|sig)=)[^&#\s]+|(//)[^/@\s]+(?=@)", re.IGNORECASE
)
DEEPEST: Final = 8
TEXTS: Final = ("message", "body", "debug_info", "detail", "llm_provider_message")


def redact_error(error: BaseException) -> None:
    """Mask credentials in an error, its causes and what it was raised in; in place.

    Request headers, URLs, texts and bodies are masked, and the local variables of the
    frames it came through are dropped (files and line numbers stay), so that neither a
    log, a pickle nor an error tracker that shows locals can give a key away.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending and len(seen) < DEEPEST:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        _redact_one(one)
        pending += [one.__cause__, one.__context__]


def _redact_one(error: BaseException) -> None:
    traceback.clear_frames(error.__traceback__)
    with contextlib.suppress(Exception):  # an error class of somebody else's may refuse anything
        error.args = tuple(_masked(argument) for argument in error.args)
    for name in TEXTS:
        with contextlib.suppress(Exception):
            value = getattr(error, name, None)
            masked = _masked(value)
            if masked is not value:
                setattr(error, name, masked)
    for holder in (error, getattr(error, "response", None)):
        with contextlib.suppress(Exception):  # httpx raises where a response has no request
            _redact_request(getattr(holder, "request", None))


def _redact_request(request: Any) -> None:
    headers = getattr(request, "headers", None)
    if headers is None:
        return
    for name in list(headers):
        if SENSITIVE.search(str(name)):
            headers[name] = MASK
    url = getattr(request, "url", None)
    text = str(url)
    masked = _masked(text)
    if url is not None and masked != text:
        request.url = type(url)(masked)


def _masked(value: Any) -> Any:
    """The value with secrets masked; the very same object if there were none."""
    if isinstance(value, str):
        masked = IN_URL.sub(lambda found: (found[1] or found[2]) + MASK, scrub(value))
        return masked if masked != value else value
    if isinstance(value, dict):
        changed = {key: _masked(one) for key, one in value.items()}
        return changed if any(changed[key] is not one for key, one in value.items()) else value
    if isinstance(value, list):
        listed = [_masked(one) for one in value]
        return listed if any(new is not old for new, old in zip(listed, value, strict=True)) else value
    return value
