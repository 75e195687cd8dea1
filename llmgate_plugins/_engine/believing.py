"""What of a provider's usage report is believed: it is bounded, and never nothing for what was delivered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Protocol

from llmgate_plugins._engine.flight import Flight
from llmgate_plugins.types import INPUT_BUCKETS, OUTPUT_BUCKETS, Attempt, Response, Usage
from llmgate_plugins.usage import (
    MOST_TOKENS,
    WORDLESS,
    allowed_output,
    answers_of,
    estimate_tokens,
    expected_output,
    most_input,
    quoted,
    sent_params,
    tier_asked,
)

__all__ = ["unknown", "used"]

_FEW: Final = 16
"""A stream that reports no more output tokens than this may have told only its last piece's,
or what it began with, and is checked against its text."""

_LONG: Final = 64
"""No token has more characters, on the average of a text."""


class Told(Protocol):
    """What has arrived of an answer."""

    @property
    def text(self) -> str:
        """The text of it; read only in doubt."""


def used(
    flight: Flight, attempt: Attempt, reported: Usage | None, told: Told | None, *, whole: bool = True
) -> Usage:
    """The usage to book.

    A report is taken as it is, save where it cannot be all of it or cannot be true: nothing
    read, nothing written though text was delivered, less than was delivered before a stream
    broke, or more than the model's window holds. What takes its place is marked as estimated.

    Args:
        reported: By the provider; None if it has not.
        told: What has arrived; None for nothing.
        whole: Whether the answer came to its end, so that the report is the last word.
    """
    if reported is None:
        return _estimate(flight, attempt, _delivered(flight, attempt, told))
    window = attempt.deployment.context_window or MOST_TOKENS
    if reported.iterations:
        window *= len(reported.iterations)
    written = reported.output
    # Of a whole answer for which something was reported no text is read, however short it is.
    enough = written > _FEW or (written > 0 and type(told) is Response)
    if enough and whole and reported.input and reported.total <= window:
        return reported
    return _checked(flight, attempt, reported, told, whole, window)


def unknown(flight: Flight, attempt: Attempt) -> Usage:
    """The usage to book for a whole answer that was asked for and never came.

    The provider writes it to its end and bills for it, whether anybody waits or not. So what was
    expected of it is booked: the longest answer allowed, else a usual one. That is what recovery
    books for an attempt of a process that died, too.
    """
    read = _estimate(flight, attempt, 0)
    if flight.call.request.operation in WORDLESS:
        return read
    return replace(read, output=expected_output(attempt.deployment, flight.call.request))


def _checked(
    flight: Flight, attempt: Attempt, reported: Usage, told: Told | None, whole: bool, window: int
) -> Usage:
    read, written = reported.total_input, reported.total_output
    if not read and not written:
        return reported  # what a host's own cache answered costs nothing, and the host knows
    if read > window or written > window:
        reported = _bounded(flight, attempt, reported, window)
        read, written = reported.total_input, reported.total_output
    changes: dict[str, Any] = {}
    if not read:
        changes["input"] = _estimate(flight, attempt, 0).input
    if told is not None and (not whole or written <= _FEW):
        # A message that is read lazily is read only if nothing was reported of it.
        read_lazily = isinstance(told, Response) and written
        characters = 0 if read_lazily else _delivered(flight, attempt, told)
        least = estimate_tokens(characters)
        if least > written and (not whole or written * _LONG < characters):
            changes["output"] = reported.output + least - written
            if attempt.deployment.price is not None:
                changes["charged"] = None  # it is for what was reported
    return replace(reported, **changes, estimated=True, iterations=()) if changes else reported


def _delivered(flight: Flight, attempt: Attempt, told: Told | None) -> int:
    """Characters of what has arrived and is billed. Of several answers one is read, and the others
    are as long."""
    if told is None:
        return 0
    if isinstance(told, Response):
        message = told.message
        characters = len(message.text) + sum(len(one.name) + len(one.arguments) for one in message.tool_calls)
    else:
        known = getattr(told, "characters", None)
        characters = len(told.text) if known is None else known
    return characters * answers_of(sent_params(attempt.deployment, flight.call.request))


def _estimate(flight: Flight, attempt: Attempt, characters: int) -> Usage:
    """Tokens of the request and what was delivered; a model reads no more than its window holds.

    Inputs of an embedding have a window each. It was served as it was asked for. A host may know better.
    """
    request, deployment = flight.call.request, attempt.deployment
    if (quote := quoted(deployment, request)) is not None:
        return replace(quote.probable, estimated=True)
    usage, window = flight.core.estimate(request, characters), deployment.context_window
    read = usage.input
    if attempt.prefill is not None:  # it reads that, too
        read += estimate_tokens(len(attempt.prefill))
    if window is not None and request.operation not in WORDLESS:
        read = min(read, window)
    return replace(usage, input=read, tier=tier_asked(sent_params(deployment, request)))


def _bounded(flight: Flight, attempt: Attempt, usage: Usage, window: int) -> Usage:
    """No more than the window holds, or the request could need, whichever is more."""
    request, deployment = flight.call.request, attempt.deployment
    params = sent_params(deployment, request)
    longest = max(deployment.max_output or 0, allowed_output(params) or 0) * answers_of(params)
    bounds = (
        (INPUT_BUCKETS, max(window, most_input(request, deployment))),
        (OUTPUT_BUCKETS, max(window, longest)),
    )
    cut: dict[str, Any] = {}
    for buckets, left in bounds:
        for bucket in buckets:
            count = getattr(usage, bucket)
            if count > left:
                cut[bucket] = left
            left -= min(count, left)
    return replace(usage, **cut, estimated=True, iterations=()) if cut else usage
