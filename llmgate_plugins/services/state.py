"""What calls need to know of each other: holds, counters and values that are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmgate_plugins._building import quickly_built
from llmgate_plugins.services.pending import MaybePending
from llmgate_plugins.types import EMPTY
from llmgate_plugins.windows import Window

__all__ = ["Grant", "Lease", "Level", "Refusal", "Reservation", "Seed", "State", "Unseeded"]


# What is made for every attempt is not frozen, as the nouns are: frozen costs three times as
# much. Nobody changes one once it is handed over.
@quickly_built
@dataclass(slots=True, kw_only=True)
class Reservation:
    """An amount to hold against one limit.

    Attributes:
        key: What is limited: "budget:team:search", "tpm:openai-us". Free text.
        amount: How much to hold, an integer >= 0 (nano-dollars, tokens, slots).
        limit: The most that held and spent may add up to.
        window: In what it is counted; a number stands for `Fixed` of so many seconds, None
            for a limit that never resets (concurrency: held only, nothing is spent). A window
            object that is kept and given again is found faster than one made anew.
        estimate: What counts as spent if nobody settles the lease before it expires, an
            integer >= 0: what the attempt of a process that died has probably cost.
        enforced: False to book and report only: it never refuses (soft limits, shadow mode).
        strict: Whether an enforced limit must hold at any price (money). Where a shared state
            cannot be reached, it then grants only what this process had set aside before, and
            raises `StorageError` if that is nothing; another one (rates) goes on by this
            process' share, the limit divided by the number of workers. Of no meaning
            without a window: slots are always shared out.
        seed: Ask for the books' word (`Unseeded`) if the window began before this state
            knew anything of it. Without a window: if a lease of a time before may still be
            open, which is for a day. Reservations of one limit should agree in it.
    """

    key: str
    amount: int
    limit: int
    window: Window | float | None = None
    estimate: int = 0
    enforced: bool = True
    strict: bool = True
    seed: bool = False


@dataclass(slots=True)
class Lease:
    """What a grant holds; give it back with `settle` or `release`.

    Attributes:
        id: As given to `reserve`, else made up; unique among processes.
    """

    id: str
    reservations: tuple[Reservation, ...]


@dataclass(slots=True)
class Level:
    """How one limit stands after a grant, what was granted included.

    Attributes:
        spent: In the window.
        held: For calls under way.
        resets_at: Unix time at which the window ends (of a rolling one: at which its oldest
            part leaves it); None if it never resets.
    """

    key: str
    spent: int
    held: int
    limit: int
    resets_at: float | None = None


@dataclass(slots=True)
class Grant:
    """All of it is held, until `expires` (Unix time) at the latest.

    Attributes:
        levels: How each limit stands now, in the order of the reservations.
        exceeded: The limits that are not enforced and would have refused.
    """

    lease: Lease
    expires: float
    levels: tuple[Level, ...] = ()
    exceeded: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """None of it is held.

    Attributes:
        key: The first limit that does not allow it.
        available: What is left of it now.
        retry_at: Unix time at which its window ends, or at which enough of a rolling one will
            have left it (all of it, if the amount is above the limit); None if it never resets.
    """

    key: str
    available: int
    retry_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseeded:
    """None of it is held: of these windows the state does not know what was spent before.

    Tell it with `seed`, then ask again.

    Attributes:
        windows: (reservation, start, end) of each, Unix time, as the state has them; the end
            of a limit without a window is `math.inf`.
        since: Unix time since when the state knows what happens; nothing may be concluded
            from books that were read within two seconds of it, since a call that was admitted
            just before may not stand in them yet.
        now: Unix time of this answer, by the same clock as `since`: other clocks do not matter.
    """

    windows: tuple[tuple[Reservation, float, float], ...]
    since: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What the books say of one limit's window.

    Attributes:
        start: Of the window, as `Unseeded` told it.
        spent: Settled in it: (Unix time, amount) each; of a window that does not roll only
            the sum counts.
        open: Lease id -> (amount held, estimate, Unix time at which it expires), for attempts
            under way.
    """

    key: str
    window: Window | float | None
    start: float
    spent: tuple[tuple[float, int], ...] = ()
    open: Mapping[str, tuple[int, int, float]] = EMPTY


class State(Protocol):
    """What a call's admission needs to know of other calls. Shared by threads, and by
    processes where the implementation says so. Every method is atomic.

    It may have two attributes: `shared` (True: of many processes that report an alert one tells)
    and `away` (True while it cannot be asked, which is alerted)."""

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> MaybePending[Grant | Refusal | Unseeded]:
        """Hold all of these or none, for at most `ttl` seconds (a day at the longest). One round trip.

        They are looked at in order: the first that refuses is the answer, unless one before
        it is unseeded; then all that are unseeded are.

        `id` names the lease. Asking again with the id of a lease that is held grants it as
        it stands and holds nothing more, so that a lost answer can be asked for again.

        Raises:
            ValueError: A negative amount, or a window or `ttl` that is not above 0.
            StorageError: The state cannot be asked."""

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> MaybePending[bool]:
        """Turn a hold into what was really spent, by key (missing: nothing was spent).

        Returns False, and changes nothing, if the lease was settled before. A lease
        that has expired in between still books what was spent, in the window of its
        reserve, in place of its estimate. A lease of the same id is as good as the one that
        was granted: another process may settle it.

        Raises:
            ValueError: A negative amount; nothing has changed."""

    def release(self, lease: Lease) -> MaybePending[bool]:
        """Give the hold back; nothing was spent. False if it was settled before."""

    def spent(self, key: str, *, window: Window | float | None = None) -> MaybePending[tuple[int, int]]:
        """(spent in the current window, held now)."""

    def seed(self, seeds: Sequence[Seed]) -> MaybePending[None]:
        """What the books say of windows that were `Unseeded`. Somebody else may have been
        faster, or the window may be over; then it changes nothing.

        What the books say takes the place of what was spent in the window so far. Their
        open leases are held under their own ids until somebody settles them; those whose
        time is over count at their estimate."""

    def get(self, key: str) -> MaybePending[bytes | None]:
        """A value, or None."""

    def put(self, key: str, value: bytes, *, ttl: float | None = None) -> MaybePending[None]:
        """Keep a value, for `ttl` seconds or for ever."""

    def delete(self, key: str) -> MaybePending[bool]:
        """Forget a value; whether there was one."""

    def add(self, key: str, amount: int = 1, *, ttl: float | None = None) -> MaybePending[int]:
        """Add to a counter and return it; `ttl` counts from its first use."""

    def close(self) -> None:
        """Let go of connections and threads, and of what was set aside. Idempotent."""
