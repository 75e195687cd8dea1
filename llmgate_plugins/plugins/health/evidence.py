"""What the outcome of an attempt says about health, in the light of the call it belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from llmgate_plugins.context import Call
from llmgate_plugins.plugins.health.paths import leads_nowhere
from llmgate_plugins.plugins.health.scopes import Finding, finding
from llmgate_plugins.types import Attempt, ErrorClass, Outcome

__all__ = ["evidence"]

STALE: Final = "stale_connection"
"""Once, it is a connection that was kept too long; twice in one call, the deployment hangs up."""
NEAR: Final = 0.05
"""Seconds by which a client may end an attempt before the call's deadline."""


def evidence(
    attempt: Attempt, outcome: Outcome, call: Call, *, now: float, fair_time: float
) -> Finding | None:
    """What the outcome says about health; None if nothing.

    Args:
        now: Monotonic time.
        fair_time: As of `Health`.
    """
    failure = outcome.failure
    if failure is None or outcome.status != "error" or leads_nowhere(failure):
        return None
    if failure.error_class is ErrorClass.TIMEOUT and failure.status is None:
        # A call that had little time says nothing about who could not answer within it.
        at_deadline = attempt.deadline is not None and now >= attempt.deadline - NEAR
        if at_deadline and now - attempt.started < fair_time:
            return None
    if failure.code == STALE and _hung_up_before(attempt, call):
        failure = replace(failure, code=None)  # a fresh connection, and it is gone as well
    return finding(failure, attempt.deployment)


def _hung_up_before(attempt: Attempt, call: Call) -> bool:
    """Whether this deployment has hung up on this call before."""
    return any(
        earlier.deployment is attempt.deployment
        and earlier is not attempt
        and outcome.failure is not None
        and outcome.failure.code == STALE
        for earlier, outcome in call.record.attempts
    )
