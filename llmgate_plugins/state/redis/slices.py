"""Slices of limits: what is held in the server for this process, to go on with in an outage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from llmgate_plugins.services import Reservation
from llmgate_plugins.state.redis.asks import Settle, Used
from llmgate_plugins.windows import Rolling, Window

if TYPE_CHECKING:
    from llmgate_plugins.state.redis.state import RedisState

__all__ = ["Slice", "Slices"]

SHARE: Final = 100
"""A slice is at most a hundredth of its limit, and all of them about a tenth."""
SPAN: Final = 30.0
"""Seconds of use, as it was lately, that a slice is made for."""
REFRESH: Final = 15.0
"""Seconds after which a slice is asked for anew; the server keeps it for 60."""
IDLE: Final = 30.0
"""Seconds without use after which a slice is given back."""
MEASURED: Final = 1.0
"""Seconds a limit has to be in use before anything is set aside of it."""

MANY: Final = 1_000
"""Limits in use from which on those that are no longer have to be forgotten."""


class Slice:
    """An amount of one limit that is held in the server for this process.

    Attributes:
        epoch: Of the state that holds it.
        until: Unix time at which its window ends; a slice of a rolling one leaves as a whole.
        drawn: Of it, by calls under way.
        spent: Of it.
        retired: Nothing more is drawn.
    """

    __slots__ = ("amount", "at", "drawn", "epoch", "id", "key", "retired", "spent", "until", "window")

    def __init__(self, slice_id: str, wanted: Reservation, amount: int, at: float) -> None:
        self.id = slice_id
        self.key = wanted.key
        self.window = wanted.window
        self.amount = amount
        self.at = at
        self.epoch = ""
        window = wanted.window
        self.until = at + window.seconds if isinstance(window, Rolling) else math.inf
        self.drawn = self.spent = 0
        self.retired = False

    @property
    def left(self) -> int:
        """What may still be drawn."""
        return self.amount - self.drawn - self.spent


class _Use:
    """How much of one limit this process uses, and what it has set aside."""

    __slots__ = ("amount", "largest", "last", "next", "since", "slice")

    def __init__(self, at: float) -> None:
        self.since = self.last = at
        self.next = at + MEASURED
        self.amount = self.largest = 0
        self.slice: Slice | None = None


class Slices:
    """The slices of a process. Not thread-safe.

    Args:
        state: The shared state that holds them.
        later: Takes what has to be asked when there is time.
    """

    def __init__(self, state: RedisState, later: Callable[[Settle], None]) -> None:
        self._state = state
        self._later = later
        self._uses: dict[tuple[str, Window | float | None], _Use] = {}
        self._holding: dict[tuple[str, Window | float | None], _Use] = {}
        self._swept = -math.inf

    def wanted(self, one: Reservation, at: float) -> Slice | None:
        """What to ask for along with this reservation, if something has to be."""
        if not (one.enforced and one.strict and one.window is not None and one.limit >= SHARE):
            return None
        use = self._uses.get((one.key, one.window))
        if use is None:
            use = self._uses[one.key, one.window] = _Use(at)
            if len(self._uses) == MANY:
                self._state.line.start()  # whose thread forgets what is not used
        use.amount += one.amount
        use.last = at
        if one.amount > use.largest:
            use.largest = one.amount
        return self._due(use, one, at) if at >= use.next else None

    def _due(self, use: _Use, wanted: Reservation, at: float) -> Slice | None:
        use.next = at + REFRESH
        lately = math.ceil(use.amount / max(at - use.since, MEASURED) * SPAN)
        amount = min(wanted.limit // max(SHARE, 10 * self._state.workers), lately)
        use.since, use.amount = at, 0
        there = use.slice
        if there is not None and (there.until <= at or there.drawn or there.spent):
            self._retire(use)
            there = None
        if there is not None and amount <= 2 * there.amount:
            return there
        if amount < use.largest:
            return None  # it would not be enough for one call
        return Slice(self._state.new_lease_id(), wanted, amount, at)

    def keep(self, one: Slice, epoch: str, now: float, until: float | None) -> None:
        """The server holds it."""
        use = self._uses.get((one.key, one.window))
        if one.retired or (use is not None and use.slice is one):
            return
        if use is None:
            self._end(one)
            return
        self._retire(use)
        one.epoch, one.at = epoch, now
        if until is not None and not isinstance(one.window, Rolling):
            one.until = until
        use.slice = one
        self._holding[one.key, one.window] = use
        self._state.line.start()  # whose thread gives back what is not used
        use.next = min(use.next, one.until)  # in the next window something has to be set aside anew

    def ask_again(self, one: Slice) -> None:
        """It could not be asked for; the next reservation may."""
        use = self._uses.get((one.key, one.window))
        if use is not None:
            use.next = self._state.now()

    def forget(self, one: Slice) -> None:
        """The server does not hold it, or nobody knows: it is given back, not drawn from."""
        use = self._uses.get((one.key, one.window))
        if use is not None and use.slice is one:
            self._retire(use)
        elif not one.retired:
            one.retired = True
            self._end(one)

    def give_back(self, wanted: Reservation) -> Settle | None:
        """What to ask so that a refused call finds what this process has set aside itself."""
        use = self._uses.get((wanted.key, wanted.window))
        if use is None or use.slice is None or use.slice.drawn or use.slice.spent:
            return None
        there, use.slice = use.slice, None
        there.retired = True
        use.next = self._state.now() + REFRESH
        return self._settled(there)

    def of(self, wanted: Reservation, now: float) -> Slice | None:
        """What is set aside of this limit now."""
        use = self._uses.get((wanted.key, wanted.window))
        there = use.slice if use is not None else None
        if there is None or there.until <= now or there.epoch != self._state.epoch:
            return None
        return there

    def put_back(self, draws: Sequence[tuple[Slice, int]], spent: Callable[[Slice], int]) -> None:
        """Calls that drew have ended; what they spent stays spent."""
        for there, amount in draws:
            there.drawn -= amount
            there.spent += spent(there)
            if there.retired and not there.drawn:
                self._end(there)

    def look_after(self, now: float) -> None:
        """End those that were drawn from, are over, or are not used; the server is there."""
        for place, use in list(self._holding.items()):
            there = use.slice
            if there is not None and (
                there.until <= now
                or there.epoch != self._state.epoch
                or there.drawn
                or there.spent
                or use.last + IDLE <= now
            ):
                self._retire(use)
            if use.slice is None:
                del self._holding[place]
        if now >= self._swept + IDLE:
            self._swept = now
            for place, use in list(self._uses.items()):
                if use.slice is None and use.last + IDLE <= now:
                    del self._uses[place]

    def end(self) -> None:
        """Nothing is drawn any more."""
        for use in self._holding.values():
            self._retire(use)

    def _retire(self, use: _Use) -> None:
        there, use.slice = use.slice, None
        if there is not None:
            there.retired = True
            if not there.drawn:
                self._end(there)

    def _end(self, there: Slice) -> None:
        if there.until > self._state.now():  # else nothing of it counts any more
            self._later(self._settled(there))

    def _settled(self, there: Slice) -> Settle:
        used = [Used(there.key, there.window, there.at, there.spent)]
        return Settle(self._state, there.id, there.epoch or "-", used)
