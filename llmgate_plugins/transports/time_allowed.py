"""How long one attempt may take, in all its phases: what call, deployment and plugins allow together."""

from __future__ import annotations

from typing import NamedTuple

from llmgate_plugins.types import Attempt, Request

__all__ = ["TimeAllowed", "seconds_allowed", "time_allowed"]


class TimeAllowed(NamedTuple):
    """Seconds from now; None: no limit of its own.

    Attributes:
        connect: Until there is a connection.
        first: Until a stream's first piece of content, or until a whole answer is there.
        gap: Between two chunks of a stream, once its content has begun.
        read: Between any two bytes: what the deployment or the request configures as its timeout.
        total: Until the call must be over. What ends here is the call's time, not a
            failure of the deployment.
    """

    connect: float | None
    first: float | None
    gap: float | None
    read: float | None
    total: float | None


def time_allowed(attempt: Attempt, request: Request, now: float | None = None) -> TimeAllowed:
    """What is allowed to an attempt that is sent now.

    Args:
        now: On the clock of `attempt.started`; None: it began just now.
    """
    limits, options = attempt.limits, attempt.deployment.endpoint.options
    passed = 0.0 if now is None else now - attempt.started
    left = None if attempt.deadline is None else attempt.deadline - attempt.started - passed
    first = None if limits.first_token is None else limits.first_token - passed
    configured = (options.get("stream_timeout") if request.stream else None) or options.get("timeout")
    return TimeAllowed(
        connect=limits.connect,
        first=first,
        gap=limits.gap,
        read=_shorter(configured, request.params.get("timeout")),
        total=_shorter(left, request.timeout),
    )


def seconds_allowed(attempt: Attempt, request: Request, now: float | None = None) -> float | None:
    """The same for a client that takes one number and counts it anew at each read; None for no limit.

    For a whole answer that is the shortest of all; for a stream the longest wait that
    any of its phases allows.
    """
    _, first, gap, read, total = time_allowed(attempt, request, now)
    if request.stream:
        first = None if first is None or gap is None else max(first, gap)
    return _shorter(_shorter(first, read), total)


def _shorter(one: float | str | None, other: float | str | None) -> float | None:
    if one is None or other is None:
        given = one if other is None else other
        return None if given is None else float(given)
    return min(float(one), float(other))
