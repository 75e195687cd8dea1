"""Which attempts are sent to a deployment although one of its breakers is not closed."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.context import StashKey
from llmgate_plugins.plugins.health.breaker import Breaker, State
from llmgate_plugins.types import Attempt

__all__ = ["LEAVE", "Leave", "may_pass", "takes_leave"]


class Leave:
    """What a call may do where a group is in panic: try one of those ejected, under each alias.

    One and not all of them, so that in an outage a call costs about one attempt. Those that
    asked to wait are let in only where there is nothing else, and then all of them: a call
    that has heard from each when it is free again can wait for the soonest.

    Attributes:
        used_by: The attempt that has used it up.
    """

    __slots__ = ("let_in", "throttled", "used_by")

    def __init__(self, let_in: frozenset[str], throttled: frozenset[str]) -> None:
        self.let_in = let_in
        self.throttled = throttled
        self.used_by: Attempt | None = None


LEAVE: Final[StashKey[Leave]] = StashKey("llmgate.health.leave")


def may_pass(breaker: Breaker, attempt: Attempt, leave: Leave | None) -> bool:
    """Whether this attempt may be sent, as far as this breaker goes."""
    state, name = breaker.state, attempt.deployment.id
    if state is State.HALF_OPEN:
        return True
    if state is State.THROTTLED:
        # A retry has waited as long as whoever decided on it thought right.
        return attempt.reason == "retry" or (leave is not None and name in leave.throttled)
    if breaker.hard or leave is None or not (name in leave.let_in or name in leave.throttled):
        return False
    return leave.used_by is None or not takes_leave(breaker)


def takes_leave(breaker: Breaker) -> bool:
    """Whether whoever passes this soft breaker uses up the call's leave.

    One that answered last, a probe or a call in panic, is probably well again: in panic everybody
    may go there.
    """
    return breaker.state in (State.EJECTED, State.PROBING) and not breaker.successes
