"""What a process may go on with by itself while the server is down."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Grant, Lease, Level, Refusal, Reservation
from llmgate_plugins.state.memory import MemoryState
from llmgate_plugins.state.redis.asks import Reserve, Settle, SharedLease, Used, actual_of
from llmgate_plugins.state.redis.slices import Slice, Slices
from llmgate_plugins.windows import Window, window_of

if TYPE_CHECKING:
    from llmgate_plugins.state.redis.state import RedisState

__all__ = ["Aside"]


class _Local:
    """The inside of a lease that this process granted by itself.

    Attributes:
        draws: From slices.
        shares, inner: The lease of the shares of other limits, and where it was granted.
        doubtful: The server may have granted it, too.
    """

    __slots__ = ("doubtful", "draws", "inner", "shares")

    def __init__(
        self, draws: Sequence[tuple[Slice, int]], shares: MemoryState, inner: Lease, *, doubtful: bool
    ) -> None:
        self.draws = draws
        self.shares = shares
        self.inner = inner
        self.doubtful = doubtful


class Aside:
    """Slices of limits, shares of limits, values, and what has to be told when the server is back.

    Thread-safe.

    Args:
        state: The shared state this belongs to.
    """

    def __init__(self, state: RedisState) -> None:
        # No cycle: a state that nobody has any more goes at once, and its thread with it.
        self._state: RedisState = weakref.proxy(state)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._slices = Slices(self._state, self.later)
        self._later: list[Settle] = []
        self._reports: dict[tuple[str, Window | float | None, float], Used] = {}
        self._granted: dict[str, SharedLease] = {}
        self._values: MemoryState | None = None
        self._shares: MemoryState | None = None
        self._served = True  # by the server, since something was last granted here

    @property
    def memory(self) -> MemoryState:
        """Values and counters of this process alone, until the server is back."""
        with self._lock:
            self._values = self._values or MemoryState(self._state.clock)
            return self._values

    def after_fork_in_child(self) -> None:
        """What was set aside is the parent's."""
        self._begin()

    # ------------------------------------------------------------ while the server is there

    def wanted(self, reservations: Sequence[Reservation], at: float) -> list[Slice | None]:
        """What to ask for along with these reservations, so that something is there in an outage."""
        with self._lock:
            return [self._slices.wanted(one, at) for one in reservations]

    def keep(self, one: Slice, epoch: str, now: float, until: float | None) -> None:
        """The server holds it."""
        with self._lock:
            self._slices.keep(one, epoch, now, until)

    def forget(self, one: Slice) -> None:
        """The server does not hold it, or nobody knows."""
        with self._lock:
            self._slices.forget(one)

    def ask_again(self, slices: Sequence[Slice | None]) -> None:
        """The server had to know more before it could hold these: ask with the next reservation."""
        with self._lock:
            for one in slices:
                if one is not None and not one.epoch:
                    self._slices.ask_again(one)

    def give_back(self, wanted: Reservation) -> Settle | None:
        """What to ask so that a refused call finds what this process has set aside itself."""
        with self._lock:
            return self._slices.give_back(wanted)

    # ------------------------------------------------------------ while it is not

    def reserve(self, ask: Reserve, error: StorageError) -> Grant | Refusal:
        """Grant from what is set aside, and from this process' share of the other limits.

        Raises:
            StorageError: A limit must hold, and nothing of it is set aside here.
        """
        self._state.line.start()  # whose thread looks after what is left here
        try:
            answer = self._reserve(ask, error)
        except StorageError:
            self._give_up(ask)
            raise
        if isinstance(answer, Refusal):
            self._give_up(ask)
        return answer

    def _give_up(self, ask: Reserve) -> None:
        """The server may have granted what is refused here; nobody else would give it back."""
        if ask.sent:
            lease = Lease(ask.id, ask.reservations)
            self.later(Settle(self._state, ask.id, "-", actual_of(lease, {}, self._state.now())))

    def _reserve(self, ask: Reserve, error: StorageError) -> Grant | Refusal:
        now = self._state.now()
        with self._lock:
            self._shares = self._shares or MemoryState(self._state.clock)
            self._served = False
            for asked in ask.slices:
                if asked is not None and not asked.epoch:  # nobody knows whether the server holds it
                    self._slices.forget(asked)
            draws: list[tuple[Slice, int]] = []
            shares: list[Reservation] = []
            levels: list[Level | None] = []
            for one in ask.reservations:
                if not (one.enforced and one.strict and one.window is not None):
                    shares.append(self._share(one))
                    levels.append(None)
                    continue
                there = self._slices.of(one, now)
                if there is None:
                    self._undo(draws)
                    raise StorageError(
                        f"{error}; nothing of {one.key!r} was set aside in this process, so it refuses "
                        "until the state is back"
                    )
                if there.left < one.amount:
                    left = there.left
                    self._undo(draws)
                    return Refusal(key=one.key, available=left, retry_at=_ends(there))
                there.drawn += one.amount
                draws.append((there, one.amount))
                levels.append(Level(one.key, there.spent, there.drawn, there.amount, _ends(there)))
            inner = cast(
                "Grant | Refusal", self._shares.reserve(shares, ttl=ask.ttl, id=ask.id)
            )  # none asks for a seed
            if isinstance(inner, Refusal):
                self._undo(draws)
                return inner
            lease = SharedLease(ask.id, ask.reservations)
            lease.epoch, lease.at, lease.ended = self._state.epoch, now, False
            lease.aside = _Local(draws, self._shares, inner.lease, doubtful=ask.sent)
            self._granted[ask.id] = lease
        told = iter(inner.levels)
        return Grant(
            lease,
            now + ask.ttl,
            tuple(one if one is not None else next(told) for one in levels),
            inner.exceeded,
        )

    def _share(self, wanted: Reservation) -> Reservation:
        limit = max(1, wanted.limit // self._state.workers) if wanted.enforced else wanted.limit
        return Reservation(
            key=wanted.key,
            amount=wanted.amount,
            limit=limit,
            window=wanted.window,
            estimate=wanted.estimate,
            enforced=wanted.enforced,
        )

    def granted(self, lease_id: str) -> SharedLease | None:
        """The lease that this process granted by itself under this id, while it is open."""
        return self._granted.get(lease_id)

    def held_there(self, lease_id: str) -> None:
        """The server holds this now; if this process granted it by itself before, no longer here."""
        self._served = True
        lease = self._granted.get(lease_id)
        if lease is not None:
            lease.ended = True
            self.finish(lease, {}, found=True)

    def settlement(self, lease: SharedLease, used: Sequence[Used], actual: Mapping[str, int]) -> Settle:
        """What to ask when a lease ends that this process granted by itself."""
        drawn = {(one.key, one.window) for one, _ in lease.aside.draws}
        for one in used:
            one.drawn = (one.key, one.window) in drawn
        return _SettleAside(self._state, lease, used, actual)

    def finish(self, lease: SharedLease, actual: Mapping[str, int], *, found: bool) -> None:
        """A lease of this process alone has ended; `found`: the server had granted it, too."""
        local: _Local = lease.aside
        with self._lock:
            self._granted.pop(lease.id, None)
            self._slices.put_back(local.draws, lambda one: 0 if found else actual.get(one.key, 0))
            local.shares.settle(local.inner, actual)

    def report(self, used: Sequence[Used]) -> None:
        """To be told when the server is back: sums by window, however many calls there were."""
        with self._lock:
            for one in used:
                window = window_of(one.window)
                if one.drawn or window is None or not one.spent:
                    continue
                place = (one.key, one.window, window.bounds(one.at)[1])
                there = self._reports.get(place)
                if there is None:
                    self._reports[place] = Used(one.key, one.window, one.at, one.spent)
                else:
                    there.spent += one.spent

    def later(self, ask: Settle) -> None:
        """Ask it when the server is back."""
        ask.repeated = ask.repeated or ask.sent
        with self._lock:
            self._later.append(ask)
        self._state.line.start()  # its thread asks; one that was never asked for does not run yet

    # ------------------------------------------------------------ when it is back

    def look_after(self) -> None:
        """Tell what has to be told, give back what nobody uses. Called about once a second."""
        state = self._state
        now = state.now()
        if state.line.outage.failing():
            return
        with self._lock:
            self._values = None
            if self._served:  # one that answers with errors counts nothing, and the share goes on
                self._shares = None
            self._slices.look_after(now)
            asks, self._later = self._later, []
            reports, self._reports = list(self._reports.values()), {}
        for start in range(0, len(reports), 200):
            asks.append(
                Settle(state, state.new_lease_id(), state.epoch, reports[start : start + 200], local=True)
            )
        for ask in asks:
            state.line.send(ask)

    def last_words(self) -> list[Settle]:
        """What to tell before the end: every slice, and what is still to be told."""
        with self._lock:
            self._slices.end()
            asks, self._later = self._later, []
            return asks

    def _undo(self, draws: Sequence[tuple[Slice, int]]) -> None:
        self._slices.put_back(draws, lambda _: 0)


class _SettleAside(Settle):
    """The end of a lease that this process granted by itself."""

    __slots__ = ("actual", "lease")

    def __init__(
        self, state: RedisState, lease: SharedLease, used: Sequence[Used], actual: Mapping[str, int]
    ) -> None:
        super().__init__(state, lease.id, lease.epoch, used, local=True)
        self.lease = lease
        self.actual = dict(actual)

    def told(self, fields: list[str], now: float) -> bool:  # noqa: ARG002 - of a base class
        self.shared.aside.finish(self.lease, self.actual, found=fields[3] == "1")
        return True

    def lost(self, error: StorageError) -> bool:  # noqa: ARG002 - of a base class
        aside = self.shared.aside
        if self.lease.aside.doubtful or self.sent:
            aside.later(self)
        else:
            aside.finish(self.lease, self.actual, found=False)
            aside.report(self.used)
        return True


def _ends(there: Slice) -> float | None:
    return None if there.until == math.inf else there.until
