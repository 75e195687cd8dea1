"""How many further attempts a program may send: a share of its calls, so that a retry never makes a storm."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from llmgate_plugins.plugins.arguments import non_negative, positive

__all__ = ["RetryBudget"]

SLICES: Final = 10
"""Parts of the window in which deposits expire."""


class RetryBudget:
    """Tokens that calls pay in and further attempts take out when they fail, for one provider. Thread-safe.

    As Finagle's `RetryBudget`, each call deposits `share` tokens, which expire after
    `window` seconds, and there are always `floor * window` tokens more, refilled evenly.
    As in gRPC and in AWS' clients, a further attempt that succeeds costs nothing in the
    end: so moving a burst of calls to a healthy sibling is never refused, while in an
    outage, of any `t` seconds, the further attempts that fail are at most
    `share * calls + floor * (t + window)`, and those that were under way at that moment.
    https://finagle.github.io/blog/2016/02/08/retry-budgets/
    https://github.com/grpc/proposal/blob/master/A6-client-retries.md

    Args:
        share: Further attempts per call, on average.
        floor: Further attempts per second that are always there: with few calls a share is nothing.
        window: Seconds for which a deposit counts.
    """

    __slots__ = ("_deposits", "_floor", "_lock", "_reserve", "_share", "_slice", "_sum", "_then", "_window")

    def __init__(self, share: float = 0.2, floor: float = 0.5, window: float = 60.0) -> None:
        self._share = non_negative("share", share)
        self._floor = non_negative("floor", floor)
        self._window = positive("window", window)
        self._slice = window / SLICES
        self._lock = threading.Lock()
        self._deposits: deque[list[float]] = deque()  # [slice number, tokens], the oldest first
        self._sum = 0.0
        self._reserve = floor * window
        self._then: float | None = None

    def deposit(self, now: float) -> None:
        """A call was made. `now`: monotonic seconds."""
        number = now // self._slice
        with self._lock:
            deposits = self._deposits
            if deposits and deposits[-1][0] == number:
                deposits[-1][1] += self._share
            else:
                self._expire(number)
                deposits.append([number, self._share])
            self._sum += self._share

    def allows(self, cost: float, now: float) -> bool:
        """Whether there are tokens for a further attempt. `now`: monotonic seconds."""
        return self.left(now) >= cost

    def take(self, cost: float, now: float) -> None:
        """A further attempt has failed. `now`: monotonic seconds."""
        with self._lock:
            self._expire(now // self._slice)
            most = self._floor * self._window
            if self._then is not None:
                self._reserve = min(most, self._reserve + max(0.0, now - self._then) * self._floor)
            self._then = now
            self._spend(cost)
            # A debt of many at once is forgotten, so that it is worked off within one window.
            self._reserve = max(self._reserve, -most)

    def left(self, now: float) -> float:
        """Tokens that are there."""
        with self._lock:
            self._expire(now // self._slice)
            most, then = self._floor * self._window, self._then
            grown = 0.0 if then is None else max(0.0, now - then) * self._floor
            return self._sum + min(most, self._reserve + grown)

    def _expire(self, number: float) -> None:
        deposits = self._deposits
        while deposits and deposits[0][0] <= number - SLICES:
            self._sum -= deposits.popleft()[1]
        if not deposits:
            self._sum = 0.0  # no rounding stays behind

    def _spend(self, cost: float) -> None:
        """The oldest deposits first: they would expire the soonest."""
        deposits = self._deposits
        while cost > 0 and deposits:
            oldest = deposits[0]
            part = min(cost, oldest[1])
            oldest[1] -= part
            self._sum -= part
            cost -= part
            if oldest[1] <= 0:
                deposits.popleft()
        self._reserve -= cost
