"""All breakers of a gateway: found by key, woken by time, counted so that nothing grows for ever."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from llmgate_plugins.plugins.health.breaker import Breaker, State
from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.reporting import HealthChange, change_of
from llmgate_plugins.plugins.health.scopes import ILLNESS, Ailment, Finding, Key, keys_of
from llmgate_plugins.types import Deployment

__all__ = ["Breakers"]

MOST_KEYS: Final = 10_000
"""Deployments, credentials and providers of which something is known."""
MOST_REMEMBERED: Final = 16_384
"""Deployments whose keys are remembered; some hosts make new ones for every call."""
NOTABLE: Final = 1.0
"""Seconds by which an ejection must be prolonged before anybody is told."""


class Breakers:
    """Not thread-safe: whoever owns it locks. Reading `open`, `version` and `next_wake` needs no lock.

    Attributes:
        known: Key -> its breakers, closed ones included, by ailment.
        open: Key -> those that are not closed.
        version: Counts whatever changes what may be sent where.
        next_wake: Monotonic time at which `wake` has something to do.
        changes: What nobody has been told yet.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.known: dict[Key, dict[Ailment, Breaker]] = {}
        self.open: dict[Key, tuple[Breaker, ...]] = {}
        self.version = 0
        self.next_wake = math.inf
        self.changes: list[HealthChange] = []
        self._due: list[tuple[float, int, Breaker]] = []
        self._queued: dict[Breaker, float] = {}
        self._noted: dict[Breaker, tuple[State, float]] = {}
        self._count = 0
        self._keys: dict[Deployment, tuple[Key, ...]] = {}

    def keys(self, deployment: Deployment) -> tuple[Key, ...]:
        """`keys_of`, remembered."""
        found = self._keys.get(deployment)
        if found is None:
            if len(self._keys) >= MOST_REMEMBERED:
                self._keys.clear()
            found = self._keys[deployment] = keys_of(deployment)
        return found

    def around(self, deployment: Deployment) -> list[Breaker]:
        """The breakers that bar this deployment, or would if it were not for a free slot."""
        return [
            breaker
            for key in self.keys(deployment)
            for breaker in self.open.get(key, ())
            if breaker.state is not State.SLOW_START
        ]

    # ------------------------------------------------------------ outcomes

    def failed(
        self,
        finding: Finding,
        deployment: Deployment,
        attempt: object,
        started: float,
        now: float,
        chance: float,
    ) -> None:
        """An attempt failed in a way that says something about health."""
        told = False
        for breaker in self._probed_by(attempt, deployment):
            own = breaker.key == finding.key and breaker.ailment is finding.ailment
            if own or (not breaker.hard and finding.ailment in ILLNESS):
                breaker.fail_probe(finding, now, chance)
                told = told or own
            else:
                breaker.release(now)
            self._note(breaker)
        if not told:
            breaker = self._breaker(finding.key, finding.ailment)
            breaker.fail(finding, started, now, chance)
            self._note(breaker)

    def succeeded(self, deployment: Deployment, attempt: object, started: float, now: float) -> None:
        """A whole answer came."""
        for key in self.keys(deployment):
            for breaker in tuple(self.known.get(key, EMPTY).values()):
                breaker.succeed(started, now, probe=breaker.prober is attempt)
                self._note(breaker)
                if breaker.state is State.CLOSED:
                    self._forget_if_clean(breaker, now)

    def released(self, deployment: Deployment, attempt: object, now: float) -> None:
        """An attempt ended and says nothing."""
        for breaker in self._probed_by(attempt, deployment):
            breaker.release(now)
            self._note(breaker)

    # ------------------------------------------------------------ the slot, and time

    def claim(self, breakers: Sequence[Breaker], prober: object, now: float) -> None:
        """Take the slots of these, which are half-open."""
        for breaker in breakers:
            breaker.claim(prober, now)
            self._note(breaker)

    def wake(self, now: float) -> None:
        """Do what time has brought."""
        while self._due and self._due[0][0] <= now:
            at, _, breaker = heapq.heappop(self._due)
            if self._queued.get(breaker) != at:
                continue  # it is queued anew, or forgotten
            del self._queued[breaker]
            if breaker.wakes <= now:
                breaker.wake(now)
            self._note(breaker)
            if breaker.state is State.CLOSED:
                self._forget_if_clean(breaker, now)
        self.next_wake = self._due[0][0] if self._due else math.inf

    # ------------------------------------------------------------ inside

    def _probed_by(self, attempt: object, deployment: Deployment) -> Iterator[Breaker]:
        for key in self.keys(deployment):
            for breaker in self.open.get(key, ()):
                if breaker.prober is attempt:
                    yield breaker

    def _breaker(self, key: Key, ailment: Ailment) -> Breaker:
        group = self.known.get(key)
        if group is None:
            if len(self.known) >= MOST_KEYS:
                oldest = next(iter(self.known))
                self._forget_key(
                    next((one for one in islice(self.known, 64) if one not in self.open), oldest)
                )
            group = self.known[key] = {}
        breaker = group.get(ailment)
        if breaker is None:
            breaker = group[ailment] = Breaker(key, ailment, self.numbers)
        return breaker

    def _forget_if_clean(self, breaker: Breaker, now: float) -> None:
        breaker.rest(now)
        if not breaker.forgettable:
            return
        self._noted.pop(breaker, None)
        self._queued.pop(breaker, None)
        group = self.known.get(breaker.key)
        if group is not None and group.get(breaker.ailment) is breaker:
            del group[breaker.ailment]
            if not group:
                del self.known[breaker.key]

    def _forget_key(self, key: Key) -> None:
        for breaker in self.known.pop(key).values():
            self._noted.pop(breaker, None)
            self._queued.pop(breaker, None)
        if self.open.pop(key, None) is not None:
            self.version += 1

    def _note(self, breaker: Breaker) -> None:
        """Keep the indexes true after a breaker was told something."""
        if self.known.get(breaker.key, EMPTY).get(breaker.ailment) is not breaker:
            return
        before, until = self._noted.get(breaker, (State.CLOSED, -math.inf))
        state = breaker.state
        if state is not before or abs(breaker.until - until) > NOTABLE:
            self._noted[breaker] = (state, breaker.until)
            self.version += 1
            self._reopen(breaker)
            if state is not before:
                self.changes.append(change_of(breaker, before))
        if breaker.wakes < self._queued.get(breaker, math.inf):
            self._queue(breaker)

    def _reopen(self, breaker: Breaker) -> None:
        """Whether its key is among those that are not all closed."""
        group = self.known.get(breaker.key, EMPTY)
        still = tuple([one for one in group.values() if one.state is not State.CLOSED])
        if still:
            self.open[breaker.key] = still
        elif self.open.pop(breaker.key, None) is not None:
            self.version += 1

    def _queue(self, breaker: Breaker) -> None:
        self._queued[breaker] = breaker.wakes
        self._count += 1
        heapq.heappush(self._due, (breaker.wakes, self._count, breaker))
        if len(self._due) > 64 + 4 * len(self._queued):
            self._due = [one for one in self._due if self._queued.get(one[2]) == one[0]]
            heapq.heapify(self._due)
        self.next_wake = self._due[0][0]


EMPTY: Final[dict[Ailment, Breaker]] = {}
