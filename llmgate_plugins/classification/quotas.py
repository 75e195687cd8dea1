"""What headers say of a provider's rate limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llmgate_plugins.classification.reading import behind, headers_of
from llmgate_plugins.classification.waiting import seconds_until
from llmgate_plugins.limits import Quota

__all__ = ["quota_from", "quota_of"]

_KINDS: Final = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_HEADERS: Final = {
    form.format(what=what, field=field): (kind, what)
    for form in ("x-ratelimit-{what}-{field}", "anthropic-ratelimit-{field}-{what}")
    for what in ("limit", "remaining", "reset")
    for field, kind in _KINDS.items()
} | {f"x-ratelimit-{what}": ("requests", what) for what in ("limit", "remaining", "reset")}
"""Header -> (kind, what is said of it): the OpenAI family's, Anthropic's, and OpenRouter's for requests."""

_OPENAI: Final = "x-ratelimit-remaining-requests"
_ANTHROPIC: Final = "anthropic-ratelimit-requests-remaining"
LONGEST_COUNT: Final = 15
"""Digits of a count; more are no count."""


def quota_of(error: BaseException) -> Quota | None:
    """What an error's `quota` or the answer behind it says of rate limits; None if nothing. Never raises."""
    try:
        told = getattr(error, "quota", None)
        if isinstance(told, Quota):
            return told
        headers = headers_of(error)
        if headers is None and (cause := behind(error)) is not None:
            headers = headers_of(cause)
        return _read(headers) if headers is not None else None
    except Exception:  # noqa: BLE001 - a foreign object may do anything when looked at
        return None


def quota_from(headers: Mapping[str, Any]) -> Quota | None:
    """What the headers of an answer say of rate limits; None if nothing. Never raises.

    Asked for every answer, and so in a hurry: they are read only if one of two telling names
    is among them, and those of an httpx response in the form they came in.

    Args:
        headers: With names in lower case, or a mapping that ignores case.
    """
    try:
        if _OPENAI not in headers and _ANTHROPIC not in headers:
            return None
        raw = getattr(headers, "raw", None)
        return _read(headers) if raw is None else _read_raw(raw, headers)
    except Exception:  # noqa: BLE001 - odd headers must not cost an answer
        return None


def _read_raw(told: list[tuple[bytes, bytes]], headers: Mapping[str, Any]) -> Quota | None:
    return _quota(
        ((name.lower().decode("latin-1"), value.decode("latin-1")) for name, value in told), headers
    )


def _read(headers: Mapping[str, Any]) -> Quota | None:
    return _quota(((name, headers.get(name)) for name in _HEADERS), headers)


def _quota(told: Iterable[tuple[str, Any]], headers: Mapping[str, Any]) -> Quota | None:
    limits: dict[str, int] = {}
    remaining: dict[str, int] = {}
    resets: dict[str, float] = {}
    for name, value in told:
        if value is None or name not in _HEADERS:
            continue
        kind, what = _HEADERS[name]
        if what == "reset":
            wait = seconds_until(value, headers)
            if wait is not None:
                resets[kind] = wait
        elif (count := _count(value)) is not None:
            (limits if what == "limit" else remaining)[kind] = count
    if not (limits or remaining or resets):
        return None
    return Quota(limits=limits, remaining=remaining, resets=resets)


def _count(value: Any) -> int | None:
    if not isinstance(value, str) or len(value) > LONGEST_COUNT:
        return None
    text = value.strip()
    return int(text) if text.isascii() and text.isdecimal() else None
