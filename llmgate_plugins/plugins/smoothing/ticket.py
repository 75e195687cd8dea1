"""A call's place in line, and what is kept for those that may go first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from llmgate_plugins.plugins.smoothing.amounts import Amounts
from llmgate_plugins.plugins.smoothing.bucket import SECOND, WHOLE, Charge
from llmgate_plugins.plugins.smoothing.limits import LimitKind

if TYPE_CHECKING:
    from llmgate_plugins.plugins.smoothing.pool import Pool

__all__ = ["ADMITTED", "LEFT", "NOWHERE", "WAITING", "Keep", "Ticket"]

WAITING: Final = "waiting"
ADMITTED: Final = "admitted"
LEFT: Final = "left"


class Keep:
    """What is kept of each limit for calls of high priority.

    Args:
        part: Thousandths kept for priority 2 and 3; half of it for 3 alone.
        seconds: For how long after the last such call it is kept; None for always.
    """

    __slots__ = ("always", "nanoseconds", "shares")

    def __init__(self, part: int, seconds: float | None) -> None:
        self.shares = (WHOLE - part, WHOLE - part // 2, WHOLE)
        self.always = seconds is None
        self.nanoseconds = 0 if seconds is None else int(seconds * SECOND)


NOWHERE: Final[Mapping[LimitKind, int]] = {}
"""The places of a call that need not wait."""


class Ticket:
    """One attempt: what it takes, and where it stands in line.

    Args:
        estimate: Tokens of its request by themselves; 0 if nobody has counted.
        answers: How many answers it asks for.
    """

    __slots__ = (
        "amounts",
        "answers",
        "began",
        "charges",
        "due",
        "estimate",
        "lane",
        "places",
        "pool",
        "started",
        "state",
    )

    def __init__(
        self, pool: Pool, lane: int, amounts: Amounts, estimate: int, now: int, answers: int = 1
    ) -> None:
        self.pool = pool
        self.lane = lane
        self.amounts = amounts
        self.estimate = estimate
        self.answers = answers
        self.began = now
        self.started = now
        self.due = now
        self.state: str | None = None
        self.places = NOWHERE
        self.charges: dict[LimitKind, Charge] = {}
