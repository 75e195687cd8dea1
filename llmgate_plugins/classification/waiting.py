"""How long a provider asks to wait, from headers, error details or the message."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

from llmgate_plugins.classification.reading import Facts, behind, headers_of, read

__all__ = ["retry_after", "seconds_until", "should_retry", "wait_of"]

LONGEST: Final = 365 * 24 * 3600.0
"""No wait is longer than this, in seconds; a larger one is cut to it."""

LONGEST_VALUE: Final = 64
"""Characters of a header that still may be a time."""
UNIX_TIMES: Final = 1e9
"""From here on a number is a moment (2001), not a duration."""
LAST_MOMENT: Final = 2.5e11
"""The end of what a date can say (the year 9999), in Unix seconds."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART: Final = r"\d{1,12}(?:\.\d{1,9})?(?:ms|s|m|h|d)"
_DURATION: Final = re.compile(rf"(?:{_PART}){{1,5}}", re.ASCII)
_PARTS: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_SENTENCE: Final = re.compile(rf"(?:try again|retry) in ((?:{_PART}){{1,5}})", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{0,9})?|\.\d{1,9}", re.ASCII)
_RESETS: Final = (
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-reset",
)


def retry_after(error: BaseException) -> float | None:
    """Seconds the provider asks to wait, more than 0 and at most a year; None if it does not.

    Never raises. In this order: `retry-after-ms`; `retry-after` in seconds, or as an HTTP date counted
    from the response's own `date`; Google's `RetryInfo`; the latest of the rate-limit
    resets; "try again in 8s" in the message. What makes no sense counts as not said.
    """
    try:
        return wait_of(error, read(error))
    except Exception:  # noqa: BLE001 - a foreign object may do anything when looked at
        return None


def wait_of(error: BaseException, facts: Facts) -> float | None:
    """The same for an exception that has been read. Never raises."""
    try:
        return _wait_of(error, facts)
    except Exception:  # noqa: BLE001 - odd headers must not cost the rest of the verdict
        return None


def _wait_of(error: BaseException, facts: Facts) -> float | None:
    headers = headers_of(error)
    if headers is None and (cause := behind(error)) is not None:
        headers = headers_of(cause)
    if headers is not None:
        asked = _asked_for(headers)
        if asked is not None:
            return asked
    if facts.delay is not None:
        return _sensible(_duration(facts.delay))
    reset = _latest_reset(headers) if headers is not None and facts.status == 429 else None
    return reset if reset is not None else _from_text(facts.text)


def should_retry(error: BaseException) -> bool | None:
    """What the response's `x-should-retry` says; None if it does not."""
    try:
        headers = headers_of(error)
        said = str(headers.get("x-should-retry", "")).strip().lower() if headers is not None else ""
    except Exception:  # noqa: BLE001 - a foreign object may do anything when looked at
        return None
    return {"true": True, "false": False}.get(said)


def _asked_for(headers: Mapping[str, Any]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _sensible(milliseconds / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    return _sensible(seconds) if seconds is not None else _until(_moment(value), headers)


def _latest_reset(headers: Mapping[str, Any]) -> float | None:
    waits = [seconds_until(headers.get(name), headers) for name in _RESETS]
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_until(value: Any, headers: Mapping[str, Any]) -> float | None:
    """Seconds until a reset; None if it makes no sense.

    Told as a duration ("6m0s"), in seconds, as an instant (RFC 3339, an HTTP date), or as Unix
    time in seconds or milliseconds: a number too large to be a duration.
    """
    if not isinstance(value, str) or len(value) > LONGEST_VALUE:
        return None
    told = _reset(value)
    return _until(told, headers) if isinstance(told, datetime) else told


@lru_cache(maxsize=1024)  # the same few are told with every answer ("6ms", "1s", "6m0s")
def _reset(value: str) -> float | datetime | None:
    number = _number(value)
    if number is None:
        wait = _sensible(_duration(value))
        return wait if wait is not None else _moment(value)
    if number < UNIX_TIMES:
        return _sensible(number)
    seconds = number / 1000 if number > UNIX_TIMES * 1000 else number
    return datetime.fromtimestamp(seconds, UTC) if seconds < LAST_MOMENT else None


def _from_text(text: str) -> float | None:
    if "try again in" not in text and "retry in" not in text:
        return None
    found = _SENTENCE.search(text)
    return _sensible(_duration(found[1])) if found else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip() if len(value) <= LONGEST_VALUE else ""
        return float(text) if _NUMBER.fullmatch(text) else None
    return float(value) if type(value) in (int, float) and abs(value) < 1e15 else None


def _sensible(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, LONGEST)


def _duration(text: str) -> float | None:
    """Seconds in "1s", "6m0s", "120ms", "1h2m3.5s"."""
    if not _DURATION.fullmatch(text.strip()):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(text))


def _moment(text: Any) -> datetime | None:
    """An HTTP date or an RFC 3339 instant."""
    return _date(text) if isinstance(text, str) and len(text) <= LONGEST_VALUE else None


@lru_cache(maxsize=1024)
def _date(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None


def _until(moment: datetime | None, headers: Mapping[str, Any]) -> float | None:
    """Counted from the response's own date: the local clock may be wrong."""
    now = _moment(headers.get("date"))
    if moment is None or now is None:
        return None
    return _sensible((moment - now).total_seconds())
