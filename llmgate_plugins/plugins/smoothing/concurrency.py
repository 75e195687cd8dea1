"""How many calls may be under way at once: additive increase, multiplicative decrease. Pure."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.plugins.smoothing.bucket import SECOND, SOONEST, WHOLE, look_again
from llmgate_plugins.plugins.smoothing.line import Line

__all__ = ["Slots"]

USUAL_LATENCY: Final = SECOND
"""Until a call has ended and shown how long it takes."""
FREE: Final = 1000
"""A learned limit that has grown to this is none any more (Envoy's largest)."""


class Slots:
    """AIMD, as in Netflix's concurrency-limits: x0.9 on a refusal, +1 per round trip while used.

    Latency says nothing of a model's load, since it follows the length of the answer; so
    refusals alone are listened to. Unbounded until `configure` or `cut`.
    """

    __slots__ = ("_credit", "_seen", "configured", "latency", "limit", "line", "running")

    def __init__(self) -> None:
        self.configured: int | None = None
        self.limit: int | None = None
        self.line = Line()
        self.running = 0
        self._credit = 0
        self.latency = USUAL_LATENCY
        self._seen = False

    def configure(self, limit: int) -> None:
        """The most that configuration allows; of several, the lowest holds."""
        self.configured = limit if self.configured is None else min(limit, self.configured)
        self.limit = self.configured if self.limit is None else min(self.limit, self.configured)

    def wait(self, share: int, ahead: int) -> tuple[int, int]:
        """(nanoseconds until its turn by the mean latency, until it is worth looking again)."""
        limit = self.limit
        if limit is None:
            return 0, 0
        allowed = max(limit * share // WHOLE, 1)
        need = self.running + ahead + 1 - allowed
        if need <= 0:
            return 0, 0
        turn = max(need * self.latency // allowed, SOONEST)
        return turn, look_again(turn)

    def take(self) -> None:
        """One more is under way."""
        self.running += 1

    def free(self) -> None:
        """One has ended."""
        self.running -= 1

    def answered(self, latency: int) -> None:
        """The provider answered, after so many nanoseconds. Told before `free`."""
        self.latency = self.latency + (latency - self.latency) // 8 if self._seen else latency
        self._seen = True
        limit = self.limit
        if limit is None or limit == self.configured or self.running * 2 <= limit:
            return
        self._credit += 1
        if self._credit >= limit:  # as many answers as there are slots: a round trip
            self._credit = 0
            self.limit = limit + 1
            if self.configured is None and self.limit >= FREE:
                self.limit = None

    def cut(self) -> None:
        """The provider refused. Told before `free`."""
        self.limit = max((self.running if self.limit is None else self.limit) * 9 // 10, 1)
        self._credit = 0
