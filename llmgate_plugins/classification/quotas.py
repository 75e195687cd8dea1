"""What headers say of a provider's rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgate_plugins.classification.reading import behind, headers_of
from llmgate_plugins.classification.waiting import seconds_until
from llmgate_plugins.limits import Quota

__all__ = ["quota_from", "quota_of"]

_FIELDS = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_NAMES = tuple(
    (kind, what, name)
    for prefix, order in (
        ("x-ratelimit", "{prefix}-{what}-{field}"),
        ("anthropic-ratelimit", "{prefix}-{field}-{what}"),
    )
    for what in ("limit", "remaining", "reset")
    for field, kind in _FIELDS.items()
    for name in (order.format(prefix=prefix, what=what, field=field),)
)


def quota_of(error: BaseException) -> Quota | None:
    """What the response behind an error says of rate limits; None if nothing. Never raises."""
    try:
        headers = headers_of(error)
        if headers is None and (cause := behind(error)) is not None:
            headers = headers_of(cause)
        return quota_from(headers) if headers is not None else None
    except Exception:  # noqa: BLE001 - a foreign object may do anything when looked at
        return None


def quota_from(headers: Mapping[str, Any]) -> Quota | None:
    """What these headers say (names in lower case, or a mapping that ignores case); None if nothing."""
    limits: dict[str, int] = {}
    remaining: dict[str, int] = {}
    resets: dict[str, float] = {}
    for kind, what, name in _NAMES:
        value = headers.get(name)
        if value is None:
            continue
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
    text = str(value).strip()
    return int(text) if text.isdecimal() and len(text) <= 15 else None
