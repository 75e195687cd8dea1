"""What one limit has spent and holds, in one window: counted where it was reserved."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable

from llmgate_plugins.state.checks import LONGEST_LEASE
from llmgate_plugins.windows import ROLLING_PARTS, Rolling, Window, window_of

__all__ = ["Meter", "Meters", "Part", "RollingMeter", "bounds_of"]


class Part:
    """Where a lease counts: a meter, or one part of a rolling one.

    A lease points at the part of its reserve, so that a late settlement is booked there
    and can never touch a later window.

    Attributes:
        counts: Whether what is spent is counted at all.
        whole: The rolling meter this is a part of, as long as it has not left it.
    """

    __slots__ = ("counts", "held", "spent", "whole")

    def __init__(self, *, counts: bool = True, whole: RollingMeter | None = None) -> None:
        self.counts = counts
        self.held = 0
        self.spent = 0
        self.whole = whole

    def add(self, spent: int, held: int) -> None:
        """Count so much more, here and in the whole."""
        self.held += held
        whole = self.whole
        if self.counts:
            self.spent += spent
        if whole is not None:
            whole.held += held
            whole.spent += spent


class Meter(Part):
    """A limit in a fixed or calendar window, or in none. A new window gets a new meter.

    Attributes:
        start, ends: Of the window, Unix time.
        given: The window as it was asked for last: found again by identity.
        known: Whether all that counts in the window is known here.
        newest: The part that counts now; None where the meter itself is it.
    """

    __slots__ = ("ends", "given", "key", "known", "newest", "start", "window")

    def __init__(self, key: str, window: Window | None, bounds: tuple[float, float], known: bool) -> None:
        super().__init__(counts=window is not None)
        self.key = key
        self.window = window
        self.given: Window | float | None = window
        self.start, self.ends = bounds
        self.known = known
        self.newest: Part | None = None

    @property
    def resets_at(self) -> float | None:
        """Unix time at which the window ends, if it does."""
        return None if self.window is None else self.ends

    @property
    def over_at(self) -> float:
        """Unix time from which on nothing of it counts any more."""
        return self.ends

    def enough_at(self, over: int, /) -> float | None:  # noqa: ARG002 - a window ends as a whole
        """Unix time at which so much less will count."""
        return self.resets_at

    def begin_with(self, start: float, spent: Iterable[tuple[float, int]]) -> bool:
        """Take over what the books say; whether they speak of this window."""
        if self.known or (self.window is not None and start != self.start):
            return False
        self.known = True
        if self.counts:
            self.spent = sum(amount for _, amount in spent)
        return True


class RollingMeter(Meter):
    """A limit in a rolling window. Costs O(1) per call, amortised: a part is made and left once."""

    __slots__ = ("_parts",)
    window: Rolling

    def __init__(self, key: str, window: Rolling, wall: float, knows_since: float) -> None:
        super().__init__(key, window, (0.0, 0.0), known=False)
        self._parts: deque[tuple[int, Part]] = deque()
        self.roll(wall, knows_since)

    def roll(self, wall: float, knows_since: float) -> None:
        """Go on to the part of this moment."""
        self.start, self.ends = self.window.bounds(wall)
        self.known = self.known or self.start >= knows_since
        newest = self._number(wall)
        parts = self._parts
        while parts and parts[0][0] < newest - ROLLING_PARTS:
            left = parts.popleft()[1]
            left.whole = None
            self.spent -= left.spent
            self.held -= left.held
        self.newest = self._part(newest)

    @property
    def over_at(self) -> float:
        """Unix time at which the last part that counts for anything leaves."""
        last = max((number for number, part in self._parts if part.spent or part.held), default=None)
        return self.ends if last is None else self._leaves(last)

    def enough_at(self, over: int, /) -> float | None:
        """Unix time at which so much less will count: when enough parts will have left."""
        leaves = self.ends
        for number, part in self._parts:
            if over <= 0:
                break
            over -= part.spent + part.held
            leaves = self._leaves(number)
        return leaves

    def begin_with(self, start: float, spent: Iterable[tuple[float, int]]) -> bool:
        """Take over what the books say; whether they speak of this window."""
        if self.known or start > self.start:
            return False
        self.known = True
        for _, part in self._parts:
            part.add(-part.spent, 0)
        newest = self._parts[-1][0]
        for at, amount in spent:
            number = min(self._number(at), newest)
            if number >= newest - ROLLING_PARTS:
                self._part(number).add(amount, 0)
        return True

    def _part(self, number: int) -> Part:
        parts = self._parts
        after = len(parts)
        while after and parts[after - 1][0] > number:
            after -= 1
        if after and parts[after - 1][0] == number:
            return parts[after - 1][1]
        parts.insert(after, (number, Part(whole=self)))
        return parts[after][1]

    def _number(self, at: float) -> int:
        return math.floor(at / self.window.part)

    def _leaves(self, number: int) -> float:
        return (number + ROLLING_PARTS + 1) * self.window.part


def bounds_of(window: Window | None, wall: float) -> tuple[float, float]:
    """(start, end) of a window at this moment; one of none goes back to the longest lease."""
    return (wall - LONGEST_LEASE, math.inf) if window is None else window.bounds(wall)


class Meters:
    """Every limit's meter of now; those of windows that are over are forgotten.

    Not thread-safe.

    Args:
        started: Unix time from which on all is known.

    Attributes:
        by_key: The meters of each key, one for each window.
        latest: The latest moment that was seen; time does not go back behind it.
    """

    __slots__ = ("_opened", "_windows", "by_key", "latest", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.latest = -math.inf
        self.by_key: dict[str, list[Meter]] = {}
        self._windows: list[tuple[float, int, Meter]] = []
        self._opened = 0

    def find(self, key: str, window: Window | None, wall: float) -> Meter | None:
        """The meter of this moment, if there is one."""
        for meter in self.by_key.get(key, ()):
            if meter.window == window:
                if meter.ends <= wall:
                    if not isinstance(meter, RollingMeter):
                        return None  # it is over, and forgotten when its successor is made
                    meter.roll(wall, self.started)
                return meter
        return None

    def at(self, key: str, window: Window | float | None, wall: float) -> Meter:
        """The meter of this moment, made if need be."""
        wanted = window_of(window)
        meter = self.find(key, wanted, wall)
        if meter is None:
            self._forget_ended(wall)
            meter = self._made(key, wanted, wall)
            self.by_key.setdefault(key, []).append(meter)
        meter.given = window
        return meter

    def remember_seeded(self, meter: Meter) -> None:
        """A limit without a window stays, once seeded, until it need not be."""
        if meter.window is None:
            self._watch(meter, self.started + LONGEST_LEASE)

    def forget_idle(self, meter: Part) -> None:
        """A limit without a window has nothing to remember once it holds nothing."""
        if meter.counts or meter.held or not isinstance(meter, Meter):
            return
        if not meter.known or self.latest >= self.started + LONGEST_LEASE:
            self._forget(meter)

    def _made(self, key: str, window: Window | None, wall: float) -> Meter:
        if isinstance(window, Rolling):
            meter: Meter = RollingMeter(key, window, wall, self.started)
        else:
            bounds = bounds_of(window, wall)
            meter = Meter(key, window, bounds, known=bounds[0] >= self.started)
        if window is not None:
            self._watch(meter, meter.ends)
        return meter

    def _watch(self, meter: Meter, until: float) -> None:
        self._opened += 1
        heapq.heappush(self._windows, (until, self._opened, meter))

    def _forget_ended(self, wall: float) -> None:
        windows = self._windows
        while windows and windows[0][0] <= wall:
            over = heapq.heappop(windows)[2]
            until = over.over_at
            if until <= wall:
                self._forget(over)
            elif until < math.inf:
                self._watch(over, until)
            else:
                self.forget_idle(over)

    def _forget(self, meter: Meter) -> None:
        meters = self.by_key.get(meter.key)
        if meters is not None and meter in meters:
            meters.remove(meter)
            if not meters:
                del self.by_key[meter.key]
