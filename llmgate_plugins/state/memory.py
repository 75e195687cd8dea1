"""State kept in this process: limits, leases, values and counters."""

from __future__ import annotations

import heapq
import math
import random as _random
import threading
from collections.abc import Mapping, Sequence

from llmgate_plugins.services import (
    Clock,
    Grant,
    Lease,
    Level,
    Random,
    Refusal,
    Reservation,
    Seed,
    SystemClock,
    Unseeded,
)
from llmgate_plugins.state.checks import LONGEST_LEASE, check_actual, check_reservations
from llmgate_plugins.state.expiring import Expiring
from llmgate_plugins.state.meters import Meter, Meters, Part, bounds_of
from llmgate_plugins.windows import Window, window_of

__all__ = ["MemoryState"]


class _Hold:
    """The inside of a lease: by part, (amount, estimate, key).

    Attributes:
        until: Monotonic time at which it expires.
        expires: The same as Unix time.
        expired: The estimates stand in place of the amounts.
        done: It was settled or released.
    """

    __slots__ = ("done", "expired", "expires", "id", "parts", "until")

    def __init__(
        self, id: str, parts: dict[Part, tuple[int, int, str]], until: float, expires: float
    ) -> None:
        self.id = id
        self.parts = parts
        self.until = until
        self.expires = expires
        self.expired = False
        self.done = False


class _MemoryLease(Lease):
    """A lease that carries its hold.

    So an expired lease can still be settled exactly once without anything being
    remembered for leases that nobody comes back for."""

    __slots__ = ("hold",)
    hold: _Hold


class MemoryState:
    """State of one process, shared by its threads. Answers are never pending.

    Guarantees:
        - Every method is atomic; `reserve` holds all of its reservations or none.
        - spent + held of an enforced limit never exceeds it by a `reserve`. Only `settle`
          can, by what a call spent beyond what it had reserved, which is booked in full.
        - A lease settles or is released once. When it expires its estimate counts as spent;
          settling it later books what was spent instead, in the window of its reserve.
        - Windows are half-open. While a wall clock that was set back catches up, time
          stands still here, so that no window is granted twice. Leases and `ttl` follow
          the monotonic clock.
        - All is known from the moment it was made: windows that began before are unseeded.
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
        self._meters = Meters(self._time())
        self._kept = 0
        self._leases: list[tuple[float, int, _Hold]] = []
        self._holds: dict[str, _Hold] = {}
        self._values: Expiring[bytes] = Expiring()
        self._counters: Expiring[int] = Expiring()

    # ------------------------------------------------------------ limits

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> Grant | Refusal | Unseeded:
        """Hold all of these or none, for at most `ttl` seconds, a day at the longest.

        Raises:
            ValueError: A negative amount, or a window or `ttl` that is not positive.
        """
        reservations = tuple(reservations)
        check_reservations(reservations, ttl)
        ttl = min(ttl, LONGEST_LEASE)
        wall, now = self._time(), self._monotonic()
        with self._lock:
            meters = self._meters
            if wall < meters.latest:
                wall = meters.latest
            meters.latest = wall
            if self._leases and self._leases[0][0] <= now:
                self._expire(now)
            held = self._holds.get(id) if id is not None else None
            if held is not None:
                now_there = [meters.at(wanted.key, wanted.window, wall) for wanted in reservations]
                return _grant(held, reservations, now_there)
            return self._hold(reservations, wall, now, ttl, id)

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        """Turn a hold into what was really spent, by key. False if it was settled before.

        Raises:
            ValueError: A negative amount; nothing has changed.
        """
        check_actual(actual)
        return self._finish(lease, actual)

    def release(self, lease: Lease) -> bool:
        """Give the hold back; nothing was spent. False if it was settled before."""
        return self._finish(lease, {})

    def spent(self, key: str, *, window: Window | float | None = None) -> tuple[int, int]:
        """(spent in the current window, held in it now)."""
        wall, now = self._time(), self._monotonic()
        window = window_of(window)
        with self._lock:
            self._expire(now)
            meter = self._meters.find(key, window, max(wall, self._meters.latest))
            return (0, 0) if meter is None else (meter.spent, meter.held)

    def seed(self, seeds: Sequence[Seed]) -> None:
        """What the books say of windows that were `Unseeded`; changes nothing in those that are not."""
        wall, now = self._time(), self._monotonic()
        with self._lock:
            wall = self._meters.latest = max(wall, self._meters.latest)
            for seed in seeds:
                meter = self._meters.at(seed.key, seed.window, wall)
                if not meter.begin_with(seed.start, seed.spent):
                    continue
                self._meters.remember_seeded(meter)
                for lease, (amount, estimate, expires) in seed.open.items():
                    self._take_over(meter, lease, amount, estimate, wall, now, expires)

    def _hold(
        self, reservations: tuple[Reservation, ...], wall: float, now: float, ttl: float, id: str | None
    ) -> Grant | Refusal | Unseeded:
        by_key, started = self._meters.by_key, self._meters.started
        meters: list[Meter] = []
        parts: dict[Part, tuple[int, int, str]] = {}
        unseeded: list[tuple[Reservation, float, float]] | None = None
        for wanted in reservations:
            key, window, amount = wanted.key, wanted.window, wanted.amount
            for meter in by_key.get(key, ()):
                if meter.given is window and meter.ends > wall:
                    break
            else:
                meter = self._meters.at(key, window, wall)
            if wanted.seed and not meter.known:
                start, end = bounds_of(meter.window, wall)
                meter.known = start >= started
                if not meter.known:
                    unseeded = unseeded or []
                    unseeded.append((wanted, start, end))
                    self._meters.forget_idle(meter)
                    continue
            part = meter.newest or meter
            if wanted.enforced and meter.spent + meter.held + amount > wanted.limit:
                if unseeded is not None:
                    continue
                before = parts[part][0] if part in parts else 0
                refusal = _refusal(wanted, meter, before)
                self._give_back(parts)
                self._meters.forget_idle(meter)
                return refusal
            meter.held += amount
            if part is not meter:
                part.held += amount
            estimate = wanted.estimate
            if part in parts:  # one limit named twice
                amount, estimate = amount + parts[part][0], estimate + parts[part][1]
            parts[part] = (amount, estimate, key)
            meters.append(meter)
        if unseeded is not None:
            self._give_back(parts)
            return Unseeded(windows=tuple(unseeded), since=started, now=wall)
        self._issued += 1
        hold = _Hold(id if id is not None else self._prefix + str(self._issued), parts, now + ttl, wall + ttl)
        self._keep(hold)
        return _grant(hold, reservations, meters)

    def _keep(self, hold: _Hold) -> None:
        self._holds[hold.id] = hold
        leases = self._leases
        self._kept += 1
        heapq.heappush(leases, (hold.until, self._kept, hold))
        if len(leases) > 2 * len(self._holds) + 64:
            leases[:] = [entry for entry in leases if not entry[2].done]
            heapq.heapify(leases)

    def _finish(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        now = self._monotonic()
        with self._lock:
            hold = lease.hold if isinstance(lease, _MemoryLease) else self._holds.get(lease.id)
            if hold is None or hold.done:
                return False
            if self._leases and self._leases[0][0] <= now:
                self._expire(now)
            if not hold.expired:
                if self._holds.get(hold.id) is not hold:
                    return False  # it is of another state
                del self._holds[hold.id]
            hold.done = True
            for part, (amount, estimate, key) in hold.parts.items():
                spent = actual.get(key, 0)
                if hold.expired:
                    part.add(spent - estimate, 0)
                else:
                    part.add(spent, -amount)
                    if not part.counts:
                        self._meters.forget_idle(part)
            return True

    def _expire(self, now: float) -> None:
        leases = self._leases
        while leases and leases[0][0] <= now:
            hold = heapq.heappop(leases)[2]
            if not hold.done and not hold.expired:
                hold.expired = True
                del self._holds[hold.id]
                for part, (amount, estimate, _) in hold.parts.items():
                    part.add(estimate, -amount)
                    if not part.counts:
                        self._meters.forget_idle(part)

    def _take_over(
        self, meter: Meter, id: str, amount: int, estimate: int, wall: float, now: float, expires: float
    ) -> None:
        """A lease of a time that this state does not know, as the books have it."""
        part = meter.newest or meter
        if expires <= wall:
            part.add(estimate, 0)
            return
        hold = self._holds.get(id)
        if hold is None:
            hold = _Hold(id, {}, now + expires - wall, expires)
            self._keep(hold)
        if part not in hold.parts:
            hold.parts[part] = (amount, estimate, meter.key)
            part.add(0, amount)

    def _give_back(self, parts: Mapping[Part, tuple[int, int, str]]) -> None:
        for part, (amount, _, _) in parts.items():
            part.add(0, -amount)
            if not part.counts:
                self._meters.forget_idle(part)

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

    def close(self) -> None:
        """There is nothing to let go of."""


def _grant(hold: _Hold, reservations: tuple[Reservation, ...], meters: Sequence[Meter]) -> Grant:
    lease = _MemoryLease(hold.id, reservations)
    lease.hold = hold
    levels: list[Level] = []
    exceeded: list[Refusal] | None = None
    for wanted, meter in zip(reservations, meters, strict=True):
        limit = wanted.limit
        levels.append(Level(meter.key, meter.spent, meter.held, limit, meter.resets_at))
        if not wanted.enforced and meter.spent + meter.held > limit:
            exceeded = exceeded or []
            exceeded.append(_refusal(wanted, meter, hold.parts.get(meter.newest or meter, (0,))[0]))
    return Grant(lease, hold.expires, tuple(levels), tuple(exceeded) if exceeded else ())


def _refusal(wanted: Reservation, meter: Meter, already: int) -> Refusal:
    """Why this does not fit, on top of what others have; `already` is this lease's own."""
    left = wanted.limit - meter.spent - meter.held + already
    return Refusal(key=wanted.key, available=max(0, left), retry_at=meter.enough_at(wanted.amount - left))
