"""The course of one alert, from its beginning on: what of it is news. Knows no clock and tells nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmgate_plugins.alerts import SEVERITIES, Alert, Severity

__all__ = ["Course"]

RANK: Final[Mapping[str, int]] = {severity: rank for rank, severity in enumerate(SEVERITIES)}
FLAPPING: Final = 3600.0
"""Seconds within which an alert that comes back counts as the same trouble."""
FIRST_HOLD: Final = 60.0
LONGEST_HOLD: Final = 900.0
NEVER: Final = float("inf")


class Course:
    """Times are monotonic, but for `since`. Not thread-safe.

    Attributes:
        last: As it was last reported.
        since: Unix time at which it began.
        rank: Of the highest severity that was told since then; -1 for none.
        repeat_at: From when on it is news that it still goes on.
        told: Whether its beginning was told, so that its end may be.
        held_until: Until when its end is held back; None if it is not.
        over_at: When it was over; None while it goes on.
    """

    __slots__ = ("_came_back", "held_until", "last", "over_at", "rank", "repeat_at", "since", "told")

    def __init__(self, alert: Alert, since: float) -> None:
        self.last, self.since = alert, since
        self.rank, self.repeat_at = -1, -NEVER
        self.told = False
        self.held_until: float | None = None
        self.over_at: float | None = None
        self._came_back = 0

    @property
    def severity(self) -> Severity:
        """The highest that was told."""
        return SEVERITIES[self.rank]

    def is_repeat(self, alert: Alert, now: float) -> bool:
        """Whether this says nothing that was not told. Only reads, so it may be asked without a lock."""
        return (
            not alert.resolved
            and self.over_at is None
            and self.held_until is None
            and RANK[alert.severity] <= self.rank
            and now < self.repeat_at
        )

    def goes_on(self, alert: Alert, now: float, since: float, repeat: float) -> bool:
        """It is reported; whether that is news.

        Args:
            since: Unix time, if it is a new beginning.
            repeat: Seconds after which it is news again.
        """
        rank = RANK[alert.severity]
        if self.over_at is not None:
            self._came_back = self._came_back + 1 if now - self.over_at < FLAPPING else 0
            self.over_at, self.rank, self.since, self.repeat_at = None, -1, since, -NEVER
        elif self.held_until is not None:
            self.held_until = None
            self._came_back += 1
        self.last = alert
        if rank <= self.rank and now < self.repeat_at:
            return False
        self.rank, self.repeat_at, self.told = max(rank, self.rank), now + repeat, True
        return True

    def ends(self, alert: Alert, now: float) -> bool:
        """Its end is reported; whether that is to be told at once. If not, `held_until` says when.

        The end of what has come back is held back, each time for twice as long.
        """
        if self.over_at is not None or self.held_until is not None:
            return False
        self.last = alert
        if not self._came_back:
            return True
        hold = min(FIRST_HOLD * 2.0 ** min(self._came_back - 1, 8), LONGEST_HOLD)
        self.held_until = now + hold
        return False

    def is_over(self, now: float) -> bool:
        """From now on it is over; whether that is to be told."""
        self.over_at, self.held_until = now, None
        told, self.told = self.told, False
        return told
