"""One breaker: a state machine over times and outcomes, without a clock of its own.

closed ──failures──► ejected ──time──► half_open ──a call takes the slot──► probing
   ▲                    ▲                  ▲                                  │
   │                    └───failure────────┼──────────────────────────────────┤
   │                                       └──success, not enough of them ────┤
   └──time── slow_start ◄──────enough successes───────────────────────────────┘

closed ──429──► throttled ──time──► closed
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.scopes import HARD, QUICK, Ailment, Finding, Key

__all__ = ["Breaker", "State"]

NEVER: Final = math.inf
A_DAY: Final = 86_400.0
NOTHING_LEFT: Final = 0.1
"""Below so much of one failure, a window counts as clean."""


class State(StrEnum):
    """What a breaker lets through."""

    CLOSED = "closed"
    SLOW_START = "slow_start"
    """A growing share of the calls."""
    THROTTLED = "throttled"
    """Nothing, until the time the provider named."""
    EJECTED = "ejected"
    """Nothing."""
    HALF_OPEN = "half_open"
    """One call, when it comes."""
    PROBING = "probing"
    """Nothing but the call that is on its way."""


class Breaker:
    """Whether one kind of failure keeps calls from one key. Not thread-safe; times are monotonic.

    Attributes:
        until: When an ejection or a throttling ends.
        since: When the state began, as far as outcomes count: an attempt that was begun
            before says nothing about it. The middle of an ejection does not move it.
        ejections: How many in a row, less those that calm times have made up for.
        prober: Whoever holds the slot; anything with an identity.
        wakes: When `wake` has something to do.
    """

    __slots__ = (
        "_failed",
        "_seen",
        "_total",
        "ailment",
        "closed_at",
        "consecutive",
        "ejections",
        "hard",
        "key",
        "numbers",
        "prober",
        "reason",
        "since",
        "state",
        "successes",
        "until",
        "wakes",
    )

    def __init__(self, key: Key, ailment: Ailment, numbers: Numbers) -> None:
        self.key = key
        self.ailment = ailment
        self.numbers = numbers
        self.hard = ailment in HARD
        self.state = State.CLOSED
        self.reason = ""
        self.until = self.since = self.closed_at = -NEVER
        self.ejections = self.successes = self.consecutive = 0
        self.prober: object = None
        self.wakes = NEVER
        self._failed = self._total = 0.0
        self._seen = -NEVER

    # ------------------------------------------------------------ outcomes

    def fail(self, finding: Finding, started: float, now: float, chance: float) -> None:
        """A failure of this kind, on an attempt that may or may not have been the probe's.

        `chance`, drawn evenly from 0 to 1, says how much longer or shorter than usual it stays out.
        """
        self.reason = finding.reason
        if finding.ailment is Ailment.THROTTLE and self._throttle(finding, now):
            return
        if started < self.since:
            return
        if self.state not in (State.CLOSED, State.SLOW_START, State.THROTTLED):
            self.successes = 0  # let in although it is ejected; the ejection goes on as it is
            return
        self._count(now, failed=True)
        self.consecutive += 1
        if self.hard or self._is_out():
            self._eject(finding, now, chance)
        elif self.state is State.CLOSED:
            self.wakes = now + self.numbers.forget

    def fail_probe(self, finding: Finding, now: float, chance: float) -> None:
        """The probe failed, of this kind or of another that shows the same."""
        if finding.ailment is self.ailment:
            self.reason = finding.reason
        self._eject(finding if finding.ailment is self.ailment else None, now, chance)

    def succeed(self, started: float, now: float, *, probe: bool) -> None:
        """A whole answer came."""
        if probe:
            self.prober = None
        if self.state in (State.EJECTED, State.HALF_OPEN, State.PROBING):
            if not probe and (self.hard or started < self.since):
                return
            self.successes += 1
            if self.successes >= (1 if self.hard else self.numbers.successes):
                self._close(now)
            elif probe:
                self._turn(State.HALF_OPEN, now + self._patience)
        elif started >= self.since:
            self._count(now, failed=False)
            self.consecutive = 0

    def release(self, now: float) -> None:
        """The probe ended and says nothing: it was cancelled, or the request itself was at fault."""
        self.prober = None
        self._turn(State.HALF_OPEN, now + self._patience)

    # ------------------------------------------------------------ time and the slot

    def wake(self, now: float) -> None:
        """Do what time has brought; to be called when `wakes` has come."""
        if self.state is State.EJECTED:
            self._turn(State.HALF_OPEN, self.until + self._patience)
        elif self.state is State.PROBING:
            self.release(now)
        elif self.state is State.HALF_OPEN:
            # Nobody came to try for so long that what is known of it has no worth any more.
            self._close(now)
        else:
            self._turn(State.CLOSED, now + self.numbers.forget)

    def claim(self, prober: object, now: float) -> None:
        """Take the slot of a half-open breaker."""
        self.prober = prober
        self._turn(State.PROBING, now + self.numbers.probe_timeout)

    @property
    def forgettable(self) -> bool:
        """Whether a new breaker would know as much. To be asked when it was just fed or has woken."""
        return self.state is State.CLOSED and self._failed < NOTHING_LEFT and not self.ejections

    def rest(self, now: float) -> None:
        """Let the old fade, so that `forgettable` tells of now."""
        self._fade(now)
        left = self._ejections_left(now)
        if left != self.ejections:
            self.closed_at += self.numbers.calm * (self.ejections - left)
            self.ejections = left

    # ------------------------------------------------------------ inside

    @property
    def _patience(self) -> float:
        """How long a half-open breaker waits for somebody to try. Hard ones never let more in than one."""
        return A_DAY if self.hard else self.numbers.forget

    def _throttle(self, finding: Finding, now: float) -> bool:
        """Pause as the provider asks. Returns whether that was all: a named time is no sign of illness."""
        named = finding.wait is not None
        pause = min(finding.wait or self.numbers.throttle_pause, self.numbers.most_retry_after)
        if self.state in (State.CLOSED, State.SLOW_START, State.THROTTLED):
            if pause > 0:
                self.until = max(self.until, now + pause)
                self._turn(State.THROTTLED, self.until)
        elif named and self.state is State.EJECTED:
            self.until = self.wakes = max(self.until, now + pause)
        return named

    def _is_out(self) -> bool:
        numbers = self.numbers
        if self.consecutive >= numbers.consecutive:
            return True
        # The count of a burst fades a little while it lasts: ten are ten all the same.
        enough = self._total >= numbers.samples - 0.5
        return enough and self._failed >= numbers.share * self._total

    def _eject(self, finding: Finding | None, now: float, chance: float) -> None:
        self.ejections = self._ejections_left(now) + 1
        self.closed_at = NEVER
        self.since = now
        self.prober = None
        self.successes = self.consecutive = 0
        self._failed = self._total = 0.0
        self.until = now + self._duration(finding, chance)
        self._turn(State.EJECTED, self.until)

    def _duration(self, finding: Finding | None, chance: float) -> float:
        numbers = self.numbers
        if finding is not None and (self.hard or self.ailment is Ailment.THROTTLE):
            if finding.wait is not None:
                return min(finding.wait, numbers.most_retry_after)
            if finding.gone:
                return numbers.gone_ejection
        first = numbers.hard_ejection if self.hard else numbers.ejection
        most = numbers.most_quick if self.ailment in QUICK else max(numbers.most_ejection, first)
        seconds = min(most, first * 2.0 ** min(self.ejections - 1, 64))
        return seconds * (1 + numbers.jitter * (2 * chance - 1))

    def _ejections_left(self, now: float) -> int:
        """Ejections in a row; each calm interval since it closed has made up for one."""
        if not self.ejections or now <= self.closed_at:
            return self.ejections
        return max(0, self.ejections - int((now - self.closed_at) // self.numbers.calm))

    def _close(self, now: float) -> None:
        self.since = self.closed_at = now
        self.successes = self.consecutive = 0
        self.prober = None
        slow = self.numbers.slow_start
        if self.hard or not slow:  # a key that works works; an account with money has all of it
            self._turn(State.CLOSED, now + self.numbers.forget)
        else:
            self._turn(State.SLOW_START, now + slow)

    def _turn(self, state: State, wakes: float) -> None:
        self.state = state
        self.wakes = wakes

    def _count(self, now: float, *, failed: bool) -> None:
        self._fade(now)
        self._total += 1.0
        self._failed += failed

    def _fade(self, now: float) -> None:
        if now > self._seen:
            kept = math.exp((self._seen - now) / self.numbers.window)
            self._failed *= kept
            self._total *= kept
            self._seen = now
