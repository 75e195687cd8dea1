"""State that many processes share, in Redis or Valkey: limits, leases, values and counters."""

from __future__ import annotations

import atexit
import logging
import random as _random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakSet, ref

from llmgate_plugins.errors import StorageError
from llmgate_plugins.services import (
    Clock,
    Grant,
    Lease,
    MaybePending,
    Random,
    Refusal,
    Reservation,
    Seed,
    SystemClock,
    Unseeded,
)
from llmgate_plugins.state.address import parse_address
from llmgate_plugins.state.checks import LONGEST_LEASE, check_actual, check_reservations
from llmgate_plugins.state.redis.aside import Aside
from llmgate_plugins.state.redis.asks import Reserve, Seeding, Settle, SharedLease, Spent, actual_of
from llmgate_plugins.state.redis.dialing import dialer_of
from llmgate_plugins.state.redis.kept import Kept
from llmgate_plugins.state.redis.line import Line
from llmgate_plugins.state.redis.scripts import ADD, CONNECT, RESERVE, SEED, SETTLE, SPENT, packed
from llmgate_plugins.state.redis.values import Add, Delete, Get, Put
from llmgate_plugins.windows import Window

__all__ = ["RedisState"]

log = logging.getLogger("llmgate.state")

CLOSING: Final = 1.0
"""Seconds for what has to be told at the end."""


class RedisState:
    """State of all processes that name the same server and namespace.

    Guarantees:
        - Every admission is one script in one round trip, over all of its limits; the
          server's clock is the only one.
        - spent + held of an enforced limit never exceeds it by a `reserve`, whatever
          happens to processes and to the server. Only `settle` can, by what a call spent
          beyond what it had reserved.
        - A lease settles or is released once, also if an answer is lost on the way. When it
          expires its estimate counts as spent, until somebody settles it.
        - A server that was emptied, started again or replaced knows nothing: windows that
          began before are unseeded (see `Unseeded`).
        - While the server is down, limits that must hold grant what was set aside in this
          process before, and others its share; see `Reservation.strict`. Values and counters
          are those of this process. What was spent meanwhile is told when it is back.
        - Amounts are exact to 2^63.

    Answers are pending in an event loop, and there where they are asked for elsewhere.
    Thread-safe, loop-safe; a fork begins with a connection of its own.

    Args:
        url: See `llmgate_plugins.state.open_state`.
        clock: For what happens in this process alone.
        random: Makes ids unique among processes.
        server_time: Instead of the server's clock; for tests.

    Raises:
        ConfigurationError: The URL is none.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        server_time: Callable[[], float] | None = None,
    ) -> None:
        address = parse_address(url)
        self.clock: Final[Clock] = clock or SystemClock()
        self.workers: Final = address.workers
        self.shown: Final = address.shown
        self.epoch = "-"
        self.run_id = "-"
        self._server_time = server_time
        self._random = random or _random.SystemRandom()
        self._offset: float | None = None
        self._warned = False
        self._prefix = f"{{llmgate:{address.namespace}}}:"
        self.epoch_key: Final = f"{self._prefix}epoch"
        self._begin()
        self.aside: Final = Aside(self)
        here = ref(self)  # the thread keeps alive what it calls

        def greet(connection: Kept) -> None:
            state = here()
            if state is not None:
                state._greet(connection)

        def look_after() -> None:
            state = here()
            if state is not None:
                state.aside.look_after()

        def forked() -> None:
            state = here()
            if state is not None:
                state._after_fork()

        self.line: Final = Line(
            dialer_of(address, self.epoch_key), address.shown, greet=greet, tick=look_after, forked=forked
        )
        _open.add(self)

    def _begin(self) -> None:
        self._ids = f"{self._random.getrandbits(64):016x}-"
        self._issued = 0

    @property
    def away(self) -> bool:
        """Whether the server counts as down, so that this process goes on by itself."""
        return self.line.outage.over()

    # ------------------------------------------------------------ limits

    def reserve(
        self, reservations: Sequence[Reservation], *, ttl: float, id: str | None = None
    ) -> MaybePending[Grant | Refusal | Unseeded]:
        """Hold all of these or none, for at most `ttl` seconds, a day at the longest.

        Raises:
            ValueError: A negative amount, or a window or `ttl` that is not above 0.
            StorageError: The server is down, and a limit must hold of which nothing is set
                aside in this process.
        """
        reservations = tuple(reservations)
        check_reservations(reservations, ttl)
        lease_id = id if id is not None else self.new_lease_id()
        return self.line.put(Reserve(self, reservations, min(ttl, LONGEST_LEASE), lease_id))

    def settle(self, lease: Lease, actual: Mapping[str, int]) -> MaybePending[bool]:
        """Turn a hold into what was really spent, by key. False if it was settled before.

        While the server is down it is settled when it is back, and True now.

        Raises:
            ValueError: A negative amount; nothing has changed.
        """
        check_actual(actual)
        if not isinstance(lease, SharedLease):
            lease = self.aside.granted(lease.id) or lease
        if not isinstance(lease, SharedLease):
            return self.line.put(Settle(self, lease.id, "-", actual_of(lease, actual, self.now())))
        if lease.ended:
            return False
        lease.ended = True
        used = actual_of(lease, actual, lease.at)
        if lease.aside is not None:
            return self.line.put(self.aside.settlement(lease, used, actual))
        return self.line.put(Settle(self, lease.id, lease.epoch, used))

    def release(self, lease: Lease) -> MaybePending[bool]:
        """Give the hold back; nothing was spent. False if it was settled before."""
        return self.settle(lease, {})

    def spent(self, key: str, *, window: Window | float | None = None) -> MaybePending[tuple[int, int]]:
        """(spent in the current window, held in it now). Raises `StorageError` while the server is down."""
        return self.line.put(Spent(self, key, window))

    def seed(self, seeds: Sequence[Seed]) -> MaybePending[None]:
        """What the books say of windows that were `Unseeded`; changes nothing in those that are not.

        Raises:
            StorageError: The server is down.
        """
        return self.line.put(Seeding(self, tuple(seeds)))

    # ------------------------------------------------------------ values and counters

    def get(self, key: str) -> MaybePending[bytes | None]:
        """A value, or None."""
        return self.line.put(Get(self, key))

    def put(self, key: str, value: bytes, *, ttl: float | None = None) -> MaybePending[None]:
        """Keep a value, for `ttl` seconds or for ever."""
        return self.line.put(Put(self, key, value, ttl))

    def delete(self, key: str) -> MaybePending[bool]:
        """Forget a value; whether there was one. Raises `StorageError` while the server is down."""
        return self.line.put(Delete(self, key))

    def add(self, key: str, amount: int = 1, *, ttl: float | None = None) -> MaybePending[int]:
        """Add to a counter and return it; `ttl` counts from its first use."""
        return self.line.put(Add(self, key, amount, ttl))

    def close(self) -> None:
        """Give back what was set aside, end the thread, let go of the connection. Idempotent."""
        if not self.line.closed:
            asks = [] if self.line.outage.over() else self.aside.last_words()
            for answer in [self.line.send(ask) for ask in asks]:
                try:
                    answer.result(CLOSING)
                except (StorageError, TimeoutError):
                    break
        self.line.close()

    def __repr__(self) -> str:
        return f"RedisState({self.shown!r})"

    # ------------------------------------------------------------ for what asks

    def now(self) -> float:
        """The server's time, as far as it is known here."""
        if self._server_time is not None:
            return self._server_time()
        if self._offset is None:
            return self.clock.time()
        return time.monotonic() + self._offset

    def time_argument(self) -> str:
        """What scripts are told of the time."""
        return "" if self._server_time is None else repr(self._server_time())

    def heard(self, epoch: str, now: float) -> None:
        """What every answer tells."""
        self.epoch = epoch
        self._offset = now - time.monotonic()

    def new_lease_id(self) -> str:
        """An id that no other process makes."""
        self._issued += 1
        return f"{self._ids}{self._issued}"

    def new_epoch_id(self) -> str:
        """An id for an epoch, should one begin: another one each time, whoever names the leases."""
        self._issued += 1
        return f"{self._ids}e{self._issued}"

    def value_key(self, key: str) -> str:
        """Where a value is kept."""
        return f"{self._prefix}v:{key}"

    def counter_key(self, key: str) -> str:
        """Where a counter is kept."""
        return f"{self._prefix}c:{key}"

    def _greet(self, connection: Kept) -> None:
        """On a new connection: who is there, do they know the scripts, has an epoch begun?"""
        facts = _facts(*connection.call(packed(("INFO", "server")), packed(("INFO", "memory"))))
        self._warn_of_eviction(facts)
        self.run_id = facts.get("run_id") or "-"
        loads = [packed(("SCRIPT", "LOAD", one.source)) for one in _SCRIPTS]
        begin = packed(
            (
                "EVALSHA",
                CONNECT.sha,
                1,
                self.epoch_key,
                self.time_argument(),
                self.new_epoch_id() + "c",
                self.run_id,
            )
        )
        *_, told = connection.call(*loads, begin)
        _, epoch, now = told.decode().split("\n")
        self.heard(epoch, float(now))

    def _warn_of_eviction(self, facts: Mapping[str, str]) -> None:
        """Once: what is evicted is a limit that is forgotten, and nobody would notice."""
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy == "noeviction" or facts.get("maxmemory", "0") == "0" or self._warned:
            return
        self._warned = True
        log.warning(
            "the state at %s evicts keys when its memory is full (maxmemory-policy %s), and a counter that "
            "is evicted is a limit that is forgotten; set maxmemory-policy noeviction",
            self.shown,
            policy,
        )

    def _after_fork(self) -> None:
        """In the child: ids of its own, nothing set aside."""
        self._begin()
        self.aside.after_fork_in_child()


def _facts(*told: bytes) -> dict[str, str]:
    """What INFO says."""
    lines = b"\n".join(told).decode("utf-8", "replace").splitlines()
    return dict(line.partition(":")[::2] for line in lines if ":" in line)


_SCRIPTS: Final = (CONNECT, RESERVE, SETTLE, SEED, SPENT, ADD)

_open: Final[WeakSet[RedisState]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """The program ends: what was set aside is given back, or it would count as spent."""
    for state in list(_open):
        state.close()
