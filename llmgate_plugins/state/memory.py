"""State kept in this process: limits, leases, values and counters."""

from __future__ import annotations

import heapq
import math
import random as _random
import threading
from collections.abc import Mapping, Sequence

from llmgate_plugins.services import Clock, Grant, Lease, Random, Refusal, Reservation, SystemClock
from llmgate_plugins.state.expiring import Expiring

__all__ = ["MemoryState"]


class _Meter:
    """What one limit has spent and holds, in one window.

    A new window gets a new meter. A lease points at the meter of its reserve, so that
    a late settlement is booked there and can never touch a later window."""

    __slots__ = ("ends", "held", "name", "spent")

    def __init__(self, name: tuple[str, float | None], ends: float) -> None:
        self.name = name
        self.ends = ends
        self.spent = 0
        self.held = 0


class _Hold:
    """The inside of a lease. `expired` gave back the hold; `done` was settled or released."""

    __slots__ = ("done", "expired", "meters")

    def __init__(self, meters: dict[_Meter, int]) -> None:
        self.meters = meters
        self.expired = False
        self.done = False


class _MemoryLease(Lease):
    """A lease that carries its hold.

    So an expired lease can still be settled exactly once without anything being
    remembered for leases that nobody comes back for."""

    __slots__ = ("hold",)
    hold: _Hold


_set = object.__setattr__


class MemoryState:
    """State of one process, shared by its threads. Answers are never pending.

    Guarantees:
        - Every method is atomic; `reserve` holds all of its reservations or none.
        - spent + held of a limit never exceeds it by a `reserve`. Only `settle` can, by
          what a call spent beyond what it had reserved, which is booked in full.
        - A lease settles or is released once. When it expires its hold is given back;
          settling it later still books what was spent, in the window of its reserve.
        - Windows are half-open, aligned to the Unix epoch. While a wall clock
          that was set back catches up, time stands still here, so that no window is
          granted twice. Leases and `ttl` follow the monotonic clock.
        - Memory follows the limits of current windows, the open leases and the live
          values, not the number of calls.

    Limits of different windows are apart, also under one key; `settle` books what was
    spent under the key in each of the lease's windows. Values (`put`) and counters
    (`add`) do not share keys.

    Args:
        clock: Where time comes from.
        random: Makes lease ids unique among processes.
    """

    def __init__(self, clock: Clock | None = None, random: Random | None = None) -> None:
        clock = clock or SystemClock()
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._prefix = f"{(random or _random.SystemRandom()).getrandbits(48):012x}-"
        self._issued = 0
        self._lock = threading.Lock()
        self._latest = -math.inf
        self._meters: dict[tuple[str, float | None], _Meter] = {}
        self._windows: list[tuple[float, int, _Meter]] = []
        self._opened = 0
        self._leases: list[tuple[float, int, _Hold]] = []
        self._live = 0
        self._values: Expiring[bytes] = Expiring()
        self._counters: Expiring[int] = Expiring()

    # ------------------------------------------------------------ limits

    def reserve(self, reservations: Sequence[Reservation], *, ttl: float) -> Grant | Refusal:
        """Hold all of these or none, for at most `ttl` seconds.

        Raises:
            ValueError: A negative amount, or a window or `ttl` that is not positive.
        """
        if not ttl > 0:
            raise ValueError(f"a lease needs a ttl above 0, not {ttl!r}")
        reservations = tuple(reservations)
        wall, now = self._time(), self._monotonic()
        held: dict[_Meter, int] = {}
        with self._lock:
            if wall < self._latest:
                wall = self._latest
            self._latest = wall
            if self._leases and self._leases[0][0] <= now:
                self._expire(now)
            for wanted in reservations:
                amount = wanted.amount
                if amount < 0:
                    self._give_back(held)
                    raise ValueError(f"cannot reserve {amount} of {wanted.key!r}: amounts are 0 or more")
                meter = self._meters.get((wanted.key, wanted.window))
                if meter is None or meter.ends <= wall:
                    try:
                        meter = self._open_window(wanted.key, wanted.window, wall)
                    except ValueError:
                        self._give_back(held)
                        raise
                if meter.spent + meter.held + amount > wanted.limit:
                    return self._refuse(wanted, meter, held)
                meter.held += amount
                held[meter] = held.get(meter, 0) + amount
            return Grant(lease=self._lease(reservations, held, now + ttl), expires=wall + ttl)

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        """Turn a hold into what was really spent, by key. False if it was settled before.

        Raises:
            ValueError: A negative amount; nothing has changed.
        """
        for key, amount in actual.items():
            if amount < 0:
                raise ValueError(f"cannot settle {key!r} at {amount}: what was spent is 0 or more")
        return self._finish(lease, actual)

    def release(self, lease: Lease) -> bool:
        """Give the hold back; nothing was spent. False if it was settled before."""
        return self._finish(lease, {})

    def spent(self, key: str, *, window: float | None = None) -> tuple[int, int]:
        """(spent in the current window, held in it now)."""
        wall, now = self._time(), self._monotonic()
        with self._lock:
            self._expire(now)
            meter = self._meters.get((key, window))
            if meter is None or meter.ends <= max(wall, self._latest):
                return 0, 0
            return meter.spent, meter.held

    def _refuse(self, wanted: Reservation, meter: _Meter, held: dict[_Meter, int]) -> Refusal:
        available = max(0, wanted.limit - meter.spent - meter.held + held.get(meter, 0))
        self._give_back(held)
        self._forget_idle(meter)
        retry_at = None if wanted.window is None else meter.ends
        return Refusal(key=wanted.key, available=available, retry_at=retry_at)

    def _lease(self, reservations: tuple[Reservation, ...], held: dict[_Meter, int], until: float) -> Lease:
        hold = _Hold(held)
        self._issued += 1
        lease = object.__new__(_MemoryLease)
        _set(lease, "id", self._prefix + str(self._issued))
        _set(lease, "reservations", reservations)
        _set(lease, "hold", hold)
        self._live += 1
        leases = self._leases
        heapq.heappush(leases, (until, self._issued, hold))
        if len(leases) > 2 * self._live + 64:
            leases[:] = [entry for entry in leases if not entry[2].done]
            heapq.heapify(leases)
        return lease

    def _finish(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        hold: _Hold | None = getattr(lease, "hold", None)
        if hold is None:
            return False
        now = self._monotonic()
        with self._lock:
            if hold.done:
                return False
            if self._leases and self._leases[0][0] <= now:
                self._expire(now)
            hold.done = True
            if not hold.expired:
                self._live -= 1
                self._give_back(hold.meters)
            if actual:
                for meter in hold.meters:
                    if meter.name[1] is not None:
                        meter.spent += actual.get(meter.name[0], 0)
            return True

    def _give_back(self, held: Mapping[_Meter, int]) -> None:
        for meter, amount in held.items():
            meter.held -= amount
            if meter.name[1] is None:
                self._forget_idle(meter)

    def _forget_idle(self, meter: _Meter) -> None:
        """A limit without a window has nothing to remember once it holds nothing."""
        if meter.name[1] is None and not meter.held and self._meters.get(meter.name) is meter:
            del self._meters[meter.name]

    def _expire(self, now: float) -> None:
        leases = self._leases
        while leases and leases[0][0] <= now:
            hold = heapq.heappop(leases)[2]
            if not hold.done:
                hold.expired = True
                self._live -= 1
                self._give_back(hold.meters)

    def _open_window(self, key: str, window: float | None, wall: float) -> _Meter:
        """A fresh meter for the window of now; forgets the windows that are over."""
        name = (key, window)
        if window is None:
            meter = self._meters[name] = _Meter(name, math.inf)
            return meter
        if not window > 0:
            raise ValueError(f"the window of {key!r} must be above 0 seconds, not {window!r}")
        windows = self._windows
        while windows and windows[0][0] <= wall:
            over = heapq.heappop(windows)[2]
            if self._meters.get(over.name) is over:
                del self._meters[over.name]
        index = math.floor(wall / window)
        ends = (index + 1) * window
        if ends <= wall:  # the division was rounded down
            ends = (index + 2) * window
        meter = self._meters[name] = _Meter(name, ends)
        self._opened += 1
        heapq.heappush(windows, (ends, self._opened, meter))
        return meter

    # ------------------------------------------------------------ values and counters

    def get(self, key: str) -> bytes | None:
        """A value, or None."""
        with self._lock:
            entry = self._values.get(key, self._monotonic())
        return None if entry is None else entry[0]

    def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Keep a value, for `ttl` seconds or for ever."""
        now = self._monotonic()
        with self._lock:
            self._values.put(key, value, now, math.inf if ttl is None else now + ttl)

    def delete(self, key: str) -> bool:
        """Forget a value; whether there was one."""
        with self._lock:
            return self._values.pop(key, self._monotonic())

    def add(self, key: str, amount: int = 1, *, ttl: float | None = None) -> int:
        """Add to a counter and return it; `ttl` counts from its first use."""
        now = self._monotonic()
        with self._lock:
            entry = self._counters.get(key, now)
            if entry is None:
                self._counters.put(key, amount, now, math.inf if ttl is None else now + ttl)
                return amount
            total = entry[0] + amount
            self._counters.replace(key, total)
            return total
