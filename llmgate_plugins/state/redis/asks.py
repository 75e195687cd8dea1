"""What a shared state asks the server about limits, and how the answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import Grant, Lease, Level, Refusal, Reservation, Seed, Unseeded
from llmgate_plugins.state.redis.ask import Again, Ask
from llmgate_plugins.state.redis.scripts import RESERVE, SEED, SETTLE, SPENT, Script, packed
from llmgate_plugins.state.redis.windows import told
from llmgate_plugins.windows import Window

if TYPE_CHECKING:
    from llmgate_plugins.state.redis.state import RedisState

__all__ = ["Reserve", "Seeding", "Settle", "SharedLease", "Spent", "Used", "actual_of"]

T = TypeVar("T")

OTHER_TIME: Final = "T"
"""The server's time lies outside the bounds that were made out here."""
CALENDAR_TRIES: Final = 5
MOST: Final = 2**63 - 1
"""What a counter of the server can hold."""


class SharedLease(Lease):
    """A lease that knows when and where it was granted.

    Attributes:
        epoch: Of the state, at the grant.
        at: The server's time at the grant.
        aside: What this process granted by itself while the server was down.
        ended: It was settled or released by this process.
    """

    __slots__ = ("aside", "at", "ended", "epoch")
    epoch: str
    at: float
    aside: Any
    ended: bool


class _Scripted(Ask[T], Generic[T]):
    """Runs a script that begins with `common.lua`."""

    __slots__ = ("sha", "shared", "tries")

    def __init__(self, script: Script, shared: RedisState) -> None:
        super().__init__(script)
        self.sha = script.sha
        self.shared = shared
        self.tries = 0

    def command(self) -> bytes:
        shared = self.shared
        return packed(
            (
                "EVALSHA",
                self.sha,
                1,
                shared.epoch_key,
                shared.time_argument(),
                shared.new_epoch_id(),
                shared.run_id,
                *self.parts(),
            )
        )

    def parts(self) -> Sequence[str | int]:
        """The script's own arguments."""
        raise NotImplementedError

    def told(self, fields: list[str], now: float) -> T | Again:
        """What the answer means."""
        raise NotImplementedError

    def read(self, reply: Any) -> T | Again:
        fields = reply.decode().split("\n")
        now = float(fields[2])
        self.shared.heard(fields[1], now)
        if fields[0] == OTHER_TIME:
            self.tries += 1
            if self.tries > CALENDAR_TRIES:
                raise StorageError("the state's time leaves every calendar window as soon as it is made out")
            return Again(self)
        return self.told(fields, now)


class Reserve(_Scripted[Grant | Refusal | Unseeded]):
    """Hold all of these or none."""

    __slots__ = ("id", "reservations", "slices", "ttl")

    def __init__(
        self, shared: RedisState, reservations: tuple[Reservation, ...], ttl: float, lease_id: str
    ) -> None:
        super().__init__(RESERVE, shared)
        self.reservations = reservations
        self.ttl = ttl
        self.id = lease_id
        self.slices: list[Any] = []

    def parts(self) -> list[str]:
        shared = self.shared
        at = shared.now()
        self.slices = shared.aside.wanted(self.reservations, at)
        parts = [self.id, repr(float(self.ttl))]
        for wanted, piece in zip(self.reservations, self.slices, strict=True):
            flags = ("e" if wanted.enforced else "") + ("s" if wanted.seed else "") or "-"
            aside = "- 0" if piece is None else f"{piece.id} {piece.amount}"
            parts.append(wanted.key)
            parts.append(
                f"{told(wanted.window, at)} {wanted.amount} {min(wanted.limit, MOST)} "
                f"{wanted.estimate} {flags} {aside}"
            )
        return parts

    def told(self, fields: list[str], now: float) -> Grant | Refusal | Unseeded | Again:
        kind = fields[0]
        if kind == "G":
            return self._granted(fields, now)
        if kind == "R":
            wanted = self.reservations[int(fields[3])]
            given_back = self.shared.aside.give_back(wanted)
            if given_back is not None:
                return Again(given_back, self)
            left = wanted.limit - int(fields[4]) - int(fields[5])
            return Refusal(key=wanted.key, available=max(0, left), retry_at=_moment(fields[6]))
        self.shared.aside.ask_again(self.slices)
        windows = tuple(
            (self.reservations[int(fields[i])], float(fields[i + 1]), float(fields[i + 2]))
            for i in range(4, len(fields), 3)
        )
        return Unseeded(windows=windows, since=float(fields[3]), now=now)

    def _granted(self, fields: list[str], now: float) -> Grant:
        shared = self.shared
        lease = SharedLease(self.id, self.reservations)
        lease.epoch, lease.at, lease.aside, lease.ended = fields[1], now, None, False
        levels: list[Level] = []
        exceeded: list[Refusal] = []
        place = 4
        for wanted, piece in zip(self.reservations, self.slices, strict=True):
            spent, held, ends, retry_at, state = fields[place : place + 5]
            place += 5
            level = Level(wanted.key, int(spent), int(held), wanted.limit, _moment(ends))
            levels.append(level)
            if not wanted.enforced and level.spent + level.held > wanted.limit:
                own = sum(
                    one.amount
                    for one in self.reservations
                    if one.key == wanted.key and one.window == wanted.window
                )
                left = wanted.limit - level.spent - level.held + own
                exceeded.append(Refusal(key=wanted.key, available=max(0, left), retry_at=_moment(retry_at)))
            if piece is not None and state == "h":
                shared.aside.keep(piece, fields[1], now, level.resets_at)
            elif piece is not None and piece.epoch:
                shared.aside.forget(piece)
        shared.aside.held_there(self.id)
        return Grant(lease, float(fields[3]), tuple(levels), tuple(exceeded))

    def lost(self, error: StorageError) -> Grant | Refusal | Unseeded:
        return self.shared.aside.reserve(self, error)


class Used:
    """What was spent of one limit, in the window of a moment.

    Attributes:
        drawn: From a slice, which is settled by itself.
    """

    __slots__ = ("at", "drawn", "key", "spent", "window")

    def __init__(
        self, key: str, window: Window | float | None, at: float, spent: int, *, drawn: bool = False
    ) -> None:
        self.key = key
        self.window = window
        self.at = at
        self.spent = spent
        self.drawn = drawn

    def parts(self) -> tuple[str, str]:
        """As the script is told of it."""
        at = "-" if self.drawn else repr(self.at)
        return self.key, f"{told(self.window, self.at)} {at} {self.spent}"


class Settle(_Scripted[bool]):
    """Book what was spent in place of a lease.

    Args:
        lease_id: Of the lease; an id of its own for what was spent without one.
        epoch: In which it was granted; "-" if nobody knows.
        local: Whether it was granted by this process alone.
    """

    __slots__ = ("epoch", "id", "local", "used")

    def __init__(
        self, shared: RedisState, lease_id: str, epoch: str, used: Sequence[Used], *, local: bool = False
    ) -> None:
        super().__init__(SETTLE, shared)
        self.id = lease_id
        self.epoch = epoch
        self.local = local
        self.used = used

    def parts(self) -> list[str]:
        parts = [self.id, self.epoch, "local" if self.local else "-"]
        for one in self.used:
            parts += one.parts()
        return parts

    def told(self, fields: list[str], now: float) -> bool:  # noqa: ARG002 - of a base class
        # A repeat that finds nothing: the first was carried out, and its answer lost.
        return fields[3] != "0" or self.repeated

    def lost(self, error: StorageError) -> bool:  # noqa: ARG002 - of a base class
        if self.local and not self.sent:
            self.shared.aside.report(self.used)
        else:
            self.shared.aside.later(self)
        return True


class Seeding(_Scripted[None]):
    """What the books say."""

    __slots__ = ("seeds",)

    def __init__(self, shared: RedisState, seeds: Sequence[Seed]) -> None:
        super().__init__(SEED, shared)
        self.seeds = seeds

    def parts(self) -> list[str]:
        at = self.shared.now()
        parts: list[str] = []
        for seed in self.seeds:
            parts.append(seed.key)
            parts.append(f"{told(seed.window, at)} {seed.start!r} {len(seed.spent)} {len(seed.open)}")
            parts += (f"{moment!r} {amount}" for moment, amount in seed.spent)
            for lease_id, (amount, estimate, expires) in seed.open.items():
                parts += (lease_id, f"{amount} {estimate} {expires!r}")
        return parts

    def told(self, fields: list[str], now: float) -> None:  # noqa: ARG002 - of a base class
        return None


class Spent(_Scripted[tuple[int, int]]):
    """How one limit stands."""

    __slots__ = ("key", "window")

    def __init__(self, shared: RedisState, key: str, window: Window | float | None) -> None:
        super().__init__(SPENT, shared)
        self.key = key
        self.window = window

    def parts(self) -> list[str]:
        return [self.key, told(self.window, self.shared.now())]

    def told(self, fields: list[str], now: float) -> tuple[int, int]:  # noqa: ARG002 - of a base class
        return int(fields[3]), int(fields[4])


def _moment(text: str) -> float | None:
    return float(text) if text else None


def actual_of(lease: Lease, actual: Mapping[str, int], at: float) -> list[Used]:
    """What was spent of each of a lease's limits."""
    return [
        Used(one.key, one.window, at, actual.get(one.key, 0))
        for one in {(one.key, one.window): one for one in lease.reservations}.values()
    ]
