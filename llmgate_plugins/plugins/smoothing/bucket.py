"""What may pass in a minute: a sliding window that is paced, in whole numbers. Pure.

Providers keep a limit per minute in a window that slides, in one aligned to the clock, or
in a bucket that refills. What keeps to the limit in *every* minute passes all three, so
that is what is kept here: amounts are booked in slots of half a second and count for a
minute and a slot longer, which also forgives the way to the provider being slower for
one call than for another. That costs 1 to 2 % of the quota.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from llmgate_plugins.plugins.smoothing.line import Line

__all__ = ["HOLD", "SECOND", "WHOLE", "Bucket", "Charge", "look_again"]

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
SLOT: Final = SECOND // 2
HOLD: Final = MINUTE + 2 * SLOT
"""How long a slot counts, from its beginning on."""
WHOLE: Final = 1000
"""Shares are told in thousandths."""
SMALLEST_BURST: Final = WHOLE // 60
"""A second's worth: providers may enforce 60 requests per minute as one per second."""
MANY_AT_ONCE: Final = 10
"""More than this part of a minute's worth within a second is a burst."""
SOONEST: Final = SECOND // 50
LATEST: Final = 10 * SECOND
GROWS_EVERY: Final = 5 * SECOND
"""A limit grows by a hundredth so often: a cut of a tenth is made good within a minute."""


def look_again(turn: int) -> int:
    """When to ask again, where a turn may come sooner than it seems: after an eighth of the time."""
    return min(max(turn // 8, SOONEST), LATEST)


Charge = tuple[int, list[int] | None]
"""What one call took, and the slot in which it is booked, until it is known what it really used."""


class Bucket:
    """One limit per minute. Times are nanoseconds on the monotonic clock.

    Before `configure` or `told` has said what the limit is, it is 1.

    Args:
        late: What a call uses is spread until its end (tokens written), so it is held
            until then and counts a minute from there; else it counts from its beginning.
        firm: A call uses just what it takes (one request), so that nothing comes back.
    """

    __slots__ = (
        *(
            "_booked",
            "_firm",
            "_foreign",
            "_foreign_until",
            "_grown",
            "_held",
            "_next",
            "_part",
            "_slots",
            "_unsettled",
        ),
        *("burst", "ceiling", "configured", "late", "limit", "line", "told_limit"),
    )

    def __init__(self, *, late: bool = False, firm: bool = False) -> None:
        self.configured: int | None = None
        self.told_limit: int | None = None
        self.late = late
        self.ceiling = self.limit = 1
        self.burst = WHOLE
        self.line = Line()
        self._slots: deque[list[int]] = deque()  # [beginning, amount], oldest first
        self._booked = 0
        self._held = 0
        self._unsettled = 0
        self._foreign = self._foreign_until = 0
        self._next = 0  # when the next would come if all came evenly: the TAT of GCRA
        self._part = WHOLE if firm else WHOLE // 2  # of what calls reserve, how much they use
        self._firm = firm
        self._grown = 0

    def configure(self, limit: int) -> None:
        """A limit that configuration sets; of several, the lowest holds."""
        self.configured = limit if self.configured is None else min(limit, self.configured)
        self._bound()

    def _bound(self) -> None:
        """The ceiling is the lowest limit known; what is in force goes with it, unless it was cut."""
        known = [limit for limit in (self.configured, self.told_limit) if limit is not None]
        ceiling = min(known)
        self.limit = ceiling if self.limit == self.ceiling else min(self.limit, ceiling)
        self.ceiling = ceiling

    def used(self, now: int) -> int:
        """How much of the limit is used, by us or (as far as the provider told) by others."""
        slots = self._slots
        while slots and slots[0][0] + HOLD <= now:
            self._booked -= slots.popleft()[1]
        if self._foreign and self._foreign_until <= now:
            self._foreign = 0
        return self._booked + self._held + self._foreign

    def passes(self, now: int, amount: int) -> bool:
        """Whether it may go at once, with nobody before it and nothing kept: `wait` in short."""
        if self.burst < WHOLE:
            return self.wait(now, WHOLE, 0, amount, SECOND)[0] == 0
        used = self.used(now)
        return used <= 0 or used + amount <= self._allowed(WHOLE)

    def wait(self, now: int, share: int, ahead: int, amount: int, latency: int) -> tuple[int, int]:
        """(nanoseconds until its turn as things stand, until it is worth looking again).

        Args:
            share: How much of the limit this call may use, in thousandths.
            ahead: How much goes before it.
            amount: How much it takes itself.
            latency: Nanoseconds a call takes, after which it gives back what it did not use.
        """
        used = self.used(now)
        if used + ahead <= 0:
            return 0, 0  # more than the whole limit passes alone, and the provider judges
        need = used + ahead + amount - self._allowed(share)
        unused = WHOLE - self._part
        likely, soonest = self._paced(now, ahead - max(ahead, 0) * unused // WHOLE), 0
        if need > 0:
            hoped = (self._unsettled + max(ahead, 0)) * unused // WHOLE
            rounds = latency * (max(ahead, 0) + amount) // self.limit  # until others end and give back
            freed = max(self._frees(need - hoped, now), min(rounds, self._frees(need, now)), SOONEST)
            given_back = max(ahead, 0) + 2 * self._unsettled * unused // WHOLE  # at the most
            likely, soonest = max(likely, freed), self._frees(need - given_back, now)
        if likely and (unused or ahead > 0):
            return likely, max(soonest, look_again(likely))
        return likely, likely

    def _allowed(self, share: int) -> int:
        """Estimates are off by a little: of a limit of tokens, a hundredth stays free for that."""
        return self.limit * share // WHOLE - (0 if self._firm else self.limit // 100)

    def _paced(self, now: int, ahead: int) -> int:
        """Nanoseconds until the pace allows it; while a whole minute's may go at once, there is none."""
        if self.burst >= WHOLE:
            return 0
        return max(self._next - MINUTE * self.burst // WHOLE - now + ahead * MINUTE // self.limit, 0)

    def take(self, now: int, amount: int) -> Charge:
        """Book it; what it really was is told to `settle`."""
        if self.burst < WHOLE:
            self._next = max(self._next, now) + amount * MINUTE // self.limit
        self._unsettled += amount
        if self.late:
            self._held += amount
            return amount, None
        return amount, self._book(now, amount)

    def settle(self, now: int, charge: Charge | None, actual: int, *, learn: bool = True) -> None:
        """What a call really used, in place of what it took.

        Args:
            learn: Whether it says something of the calls to come.
        """
        taken, slot = charge or (0, None)
        self._unsettled -= taken
        if learn and taken and not self._firm:
            self._part += (min(actual * WHOLE // taken, WHOLE) - self._part) // 16
        if slot is None:
            if self.late:
                self._held -= taken
            self._book(now, actual)
        elif actual != taken and slot[0] + HOLD > now:
            self.used(now)  # whatever is over leaves the sum first
            slot[1] += actual - taken
            self._booked += actual - taken
        if self.burst < WHOLE:
            self._next += (actual - taken) * MINUTE // self.limit

    def told(self, now: int, limit: int | None, remaining: int | None, reset: int | None) -> None:
        """What the provider says: its limit, and how much others have used of what we thought free."""
        if limit is not None and limit > 0 and limit != self.told_limit:
            self.told_limit = limit
            self._bound()
        if remaining is None:
            return
        used = self.used(now)
        missing = self.limit - used - remaining
        if missing > 0:
            self._foreign += missing
            self._foreign_until = now + min(reset if reset is not None else MINUTE, MINUTE)

    def cut(self, now: int) -> None:
        """The provider refused. If much was sent just now, it may be that it allows less at once."""
        recent = sum(amount for begin, amount in islice(reversed(self._slots), 2) if begin > now - SECOND)
        if (recent + self._held) * MANY_AT_ONCE > self.limit:
            if self.burst >= WHOLE:
                self._next = now + self.used(now) * MINUTE // self.limit
            self.burst = max(self.burst // 4, SMALLEST_BURST)
        self.limit = max(self.limit * 9 // 10, 1)
        self._grown = now

    def grow(self, now: int) -> None:
        """The provider answered. Where more than half is used, a little more is tried."""
        if self.limit >= self.ceiling and self.burst >= WHOLE:
            return
        if now - self._grown < GROWS_EVERY or self.used(now) * 2 <= self.limit:
            return
        self._grown = now
        self.limit = min(self.limit + max(self.ceiling // 100, 1), self.ceiling)
        self.burst = min(self.burst + WHOLE // 100, WHOLE)

    def _book(self, now: int, amount: int) -> list[int]:
        begin = now - now % SLOT
        self._booked += amount
        slots = self._slots
        if slots and slots[-1][0] >= begin:
            slots[-1][1] += amount
        else:
            slots.append([begin, amount])
        return slots[-1]

    def _frees(self, need: int, now: int) -> int:
        """Nanoseconds until so much is free again by time alone; each minute like the last one."""
        if need <= 0:
            return 0
        whole = max(self._booked + self._held + self._foreign, self.limit)
        rounds, rest = divmod(need - 1, whole)
        return rounds * HOLD + self._first_frees(rest + 1, now)

    def _first_frees(self, need: int, now: int) -> int:
        foreign = self._foreign
        for begin, amount in self._slots:
            if foreign and self._foreign_until <= begin + HOLD:
                need -= foreign
                foreign = 0
                if need <= 0:
                    return self._foreign_until - now
            need -= amount
            if need <= 0:
                return begin + HOLD - now
        return self._foreign_until - now if foreign >= need else HOLD
