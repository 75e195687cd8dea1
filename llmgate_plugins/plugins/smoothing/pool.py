"""All limits of one credential and model, and the calls that wait for them, in arrival order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from llmgate_plugins.limits import Quota
from llmgate_plugins.plugins.smoothing.amounts import Amounts, Lengths, taken
from llmgate_plugins.plugins.smoothing.bucket import SECOND, WHOLE, Bucket
from llmgate_plugins.plugins.smoothing.concurrency import Slots
from llmgate_plugins.plugins.smoothing.limits import LimitKind, RateLimit
from llmgate_plugins.plugins.smoothing.line import LANES, Line
from llmgate_plugins.plugins.smoothing.ticket import ADMITTED, LEFT, NOWHERE, WAITING, Keep, Ticket
from llmgate_plugins.types import ErrorClass, Outcome

__all__ = ["Pool"]

PER_MINUTE: Final[tuple[LimitKind, ...]] = ("requests", "tokens", "input_tokens", "output_tokens")
SLOT: Final[LimitKind] = "concurrency"
THROTTLED: Final = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.OVERLOADED})
LONGEST_PAUSE: Final = 3600 * SECOND
LONGEST_GUESS: Final = 32
"""Seconds to pause at most where the provider does not say for how long: 1, 2, 4 ..."""
LOST: Final = 60 * SECOND
"""A waiting call that is so late has gone without a word; its place is given away."""

Standing = tuple[LimitKind, int | None, int | None, int | None, int, int]
"""Kind, configured, told, in force, used, waiting."""


class Pool:
    """Limits that a group of deployments shares. Thread-safe.

    Attributes:
        idle: Nothing is known that could make a call wait; it need not be asked.
        lengths: How long its answers are, and what it makes of a text.
    """

    def __init__(self, limits: RateLimit, keep: Keep) -> None:
        self.buckets: dict[LimitKind, Bucket] = {}
        self.slots = Slots()
        self.lengths = Lengths()
        self.paused_until = 0
        self._keep = keep
        self._lock = threading.Lock()
        self._lanes: tuple[deque[Ticket], ...] = tuple(deque() for _ in range(LANES))
        self._high_until = -1  # no call of high priority yet
        self._cut_at = -1
        self._joined = 0  # in the lanes, those that wait no longer included
        self._refusals = 0
        self.idle = True
        self.lower(limits)

    @property
    def counts_tokens(self) -> bool:
        """Whether any limit of tokens is known."""
        return len(self.buckets) > ("requests" in self.buckets)

    def lower(self, limits: RateLimit) -> None:
        """Another deployment joins, with limits of its own: the lower one of each holds for both."""
        with self._lock:
            for kind in PER_MINUTE:
                if (limit := getattr(limits, kind)) is not None:
                    self._bucket(kind).configure(limit)
            if limits.concurrency is not None:
                self.slots.configure(limits.concurrency)
            self.idle = self.idle and not self.buckets and self.slots.limit is None

    # ------------------------------------------------------------ before an attempt

    def ask(self, ticket: Ticket, now: int) -> tuple[int, int]:
        """Let it go and answer (0, 0), or give it a place in line.

        Returns:
            Nanoseconds until its turn as things stand, and until it should ask again.
        """
        with self._lock:
            if ticket.lane:
                self._high_until = now + self._keep.nanoseconds
            if self._free(ticket, now):
                return self._admit(ticket, now)
            self._forget_lost(now)
            turn, again = self._turn(ticket.lane, ticket.amounts, ticket.places, now)
            if turn > 0:
                self._join(ticket)
                again = max(min(turn, again), SECOND // 1000)
                ticket.due = now + again
                return turn, again
            return self._admit(ticket, now)

    def _free(self, ticket: Ticket, now: int) -> bool:
        """Whether nobody waits and nothing is in its way: what is nearly always so, found out cheaply."""
        if self._joined or now < self.paused_until or now < self._high_until or self._keep.always:
            return False
        slots = self.slots
        if slots.limit is not None and slots.running >= slots.limit:
            return False
        amounts = ticket.amounts
        for kind, bucket in self.buckets.items():  # noqa: SIM110 - a generator costs twice as much
            if not bucket.passes(now, amounts.get(kind, 0)):
                return False
        return True

    def _admit(self, ticket: Ticket, now: int) -> tuple[int, int]:
        amounts, charges = ticket.amounts, ticket.charges
        for kind, bucket in self.buckets.items():
            charges[kind] = bucket.take(now, amounts.get(kind, 0))
        self.slots.take()
        ticket.started = now
        if ticket.state is WAITING:
            self._go(ticket)
        ticket.state = ADMITTED
        if self._joined:
            self._tidy(ticket.lane)
        return 0, 0

    def peek(self, lane: int, amounts: Amounts, now: int) -> int:
        """Nanoseconds until the turn of a call that would come now."""
        with self._lock:
            return self._turn(lane, amounts, {}, now)[0]

    def leave(self, ticket: Ticket) -> None:
        """It does not want its turn any more."""
        with self._lock:
            if ticket.state is WAITING:
                ticket.state = LEFT
                self._tidy(ticket.lane)

    def _turn(
        self, lane: int, amounts: Amounts, places: Mapping[LimitKind, int], now: int
    ) -> tuple[int, int]:
        keeps = self._keep.always or now < self._high_until
        share = self._keep.shares[lane] if keeps else WHOLE
        turn = again = max(self.paused_until - now, 0)
        for kind, bucket in self.buckets.items():
            ahead = bucket.line.ahead(lane, places.get(kind))
            waits, looks = bucket.wait(now, share, ahead, amounts.get(kind, 0), self.slots.latency)
            turn, again = max(turn, waits), max(again, looks)
        waits, looks = self.slots.wait(share, self.slots.line.ahead(lane, places.get(SLOT)))
        return max(turn, waits), max(again, looks)

    def _join(self, ticket: Ticket) -> None:
        """A place in every line in which it has none yet; a limit may be learned while it waits."""
        places = ticket.places = dict(ticket.places)
        for kind, bucket in self.buckets.items():
            if kind not in places:
                places[kind] = bucket.line.join(ticket.lane, ticket.amounts.get(kind, 0))
        if SLOT not in places:
            places[SLOT] = self.slots.line.join(ticket.lane, 1)
        if ticket.state is not WAITING:
            ticket.state = WAITING
            self._lanes[ticket.lane].append(ticket)
            self._joined += 1

    def _go(self, ticket: Ticket) -> None:
        """Its turn has come: what waited is booked as used now."""
        for kind in ticket.places:
            line, amount = self._line(kind, ticket)
            line.go(ticket.lane, amount)

    def _give_back(self, ticket: Ticket) -> None:
        """It has left for good."""
        for kind, start in ticket.places.items():
            line, amount = self._line(kind, ticket)
            line.leave(ticket.lane, start, amount)
        ticket.places = NOWHERE
        ticket.state = None

    def _line(self, kind: LimitKind, ticket: Ticket) -> tuple[Line, int]:
        if kind == SLOT:
            return self.slots.line, 1
        return self.buckets[kind].line, ticket.amounts.get(kind, 0)

    def _tidy(self, lane: int) -> None:
        """Take those off both ends who wait no longer.

        The place of one that left from the middle is given away when all before it have
        gone: sooner, it would let those pass who stood before it.
        """
        line = self._lanes[lane]
        while line and line[-1].state is LEFT:
            self._joined -= 1
            self._give_back(line.pop())
        while line and line[0].state is not WAITING:
            self._joined -= 1
            ticket = line.popleft()
            if ticket.state is LEFT:
                self._give_back(ticket)

    def _forget_lost(self, now: int) -> None:
        for lane, line in enumerate(self._lanes):
            if line and line[0].due + LOST < now:
                line[0].state = LEFT
                self._tidy(lane)

    # ------------------------------------------------------------ after an attempt

    def end(self, ticket: Ticket | None, outcome: Outcome, started: int, now: int) -> None:
        """Book what was used, free the slot, and learn from how it ended."""
        with self._lock:
            if ticket is None or ticket.state is not ADMITTED:
                self._learn(outcome, started, now, None)
            else:
                ticket.state = None
                self._learn(outcome, ticket.started, now, ticket)
                self.slots.free()
                self._settle(ticket, outcome, now)
            if outcome.quota is not None:
                self._told(outcome.quota, now)
            if outcome.status == "success":
                for bucket in self.buckets.values():
                    bucket.grow(now)

    def _settle(self, ticket: Ticket, outcome: Outcome, now: int) -> None:
        skipped = outcome.status == "skipped"
        used = {} if skipped else taken(outcome, ticket.amounts)
        for kind, bucket in self.buckets.items():
            charge = ticket.charges.get(kind)
            actual = (charge[0] if charge is not None else 0) if used is None else used.get(kind, 0)
            bucket.settle(now, charge, actual, learn=outcome.ok)

    def _learn(self, outcome: Outcome, started: int, now: int, ticket: Ticket | None) -> None:
        if outcome.status == "success":
            self._refusals = 0
            if ticket is None:
                self.lengths.learn(0, outcome.usage)
            else:
                self.lengths.learn(ticket.estimate, outcome.usage, ticket.answers)
                self.slots.answered(now - started)
            return
        failure = outcome.failure
        if failure is None or failure.error_class not in THROTTLED:
            return
        self.idle = False
        if failure.error_class is ErrorClass.RATE_LIMIT or failure.retry_after is not None:
            self._pause(failure.retry_after, outcome.quota, now)  # an overload may be over in a moment
        if started < self._cut_at:
            return  # sent before the last cut could show: the same news once more
        self._cut_at = now
        known = bool(self.buckets) and failure.error_class is ErrorClass.RATE_LIMIT
        if known:
            for bucket in self.buckets.values():
                bucket.cut(now)
        if ticket is not None and (not known or self.slots.limit is not None):
            self.slots.cut()

    def _pause(self, retry_after: float | None, quota: Quota | None, now: int) -> None:
        seconds = retry_after
        if seconds is None and quota is not None:
            spent = [quota.resets.get(kind) for kind, left in quota.remaining.items() if left == 0]
            seconds = max((reset for reset in spent if reset is not None), default=None)
        if seconds is None:
            seconds = min(1 << min(self._refusals, 16), LONGEST_GUESS)
            self._refusals += 1
        pause = min(int(max(seconds, 0.0) * SECOND), LONGEST_PAUSE)
        self.paused_until = max(self.paused_until, now + pause)

    def _told(self, quota: Quota, now: int) -> None:
        for kind in PER_MINUTE:
            limit, reset = quota.limits.get(kind), quota.resets.get(kind)
            if limit or kind in self.buckets:
                after = None if reset is None else int(reset * SECOND)
                self._bucket(kind).told(now, limit, quota.remaining.get(kind), after)
                self.idle = False

    def _bucket(self, kind: LimitKind) -> Bucket:
        bucket = self.buckets.get(kind)
        if bucket is None:
            bucket = self.buckets[kind] = Bucket(late=kind == "output_tokens", firm=kind == "requests")
        return bucket

    # ------------------------------------------------------------ to be looked at

    @property
    def busy(self) -> bool:
        """Whether calls are under way or wait."""
        return self.slots.running > 0 or any(self._lanes)

    def standing(self, now: int) -> Iterator[Standing]:
        """Every limit as it is now."""
        with self._lock:
            rows: list[Standing] = [
                (kind, one.configured, one.told_limit, one.limit, one.used(now), one.line.waiting)
                for kind, one in self.buckets.items()
            ]
            slots = self.slots
            rows.append((SLOT, slots.configured, None, slots.limit, slots.running, slots.line.waiting))
        return iter(rows)
