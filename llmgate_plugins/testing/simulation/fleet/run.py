"""One run of a simulated fleet, from its seed to rest."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.context import Context
from llmgate_plugins.errors import AllDeploymentsUnavailable, ProviderError, RequestDenied
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Limit, Limits, RequestLimit, TokenLimit
from llmgate_plugins.testing.simulation.fleet.at_rest import check_books, compare_counts
from llmgate_plugins.testing.simulation.fleet.books import Books
from llmgate_plugins.testing.simulation.fleet.node import Node
from llmgate_plugins.testing.simulation.fleet.shared import CALL, LEASE, LONGEST, TEAMS, USERS, Shared
from llmgate_plugins.testing.simulation.fleet.state import State
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.options import Violation
from llmgate_plugins.virtual_time import LoopClock, VirtualLoop, run_virtually
from llmgate_plugins.windows import Calendar, Rolling

__all__ = ["FleetResult", "simulate_fleet"]

SWEEP: Final = 4.0
"""Seconds between two looks for attempts that nobody will settle any more."""
ERA: Final = 1_000_000_000.0
"""Seconds of a window that is longer than any run, so that sums can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetResult:
    """How one run went.

    Attributes:
        violations: Empty if all held.
        trace_hash: The same for the same seed.
        calls: How calls ended, as their callers saw it: status -> how many.
        sent: Requests that reached a provider.
        crashes, flushes: Gateways that were dropped in mid-call; times the state was emptied.
        seconds: Virtual seconds from begin to end.
    """

    seed: int
    violations: tuple[Violation, ...]
    trace_hash: str
    calls: dict[str, int]
    sent: int
    crashes: int
    flushes: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations


def simulate_fleet(
    seed: int,
    *,
    calls: int = 120,
    limits: Callable[[random.Random], list[Limit]] | None = None,
    plugin: Callable[[list[Limit]], object] = Limits,
) -> FleetResult:
    """Run the fleet of a seed to its end and check that books, limits and counters agree throughout.

    I1: one row per attempt that was sent. I2: each is settled once. I3: what is spent and held
    never exceeds a limit that is enforced, as the state has it and as the books have it. I4: at
    rest nothing is held, and attempts, calls and counters are the same money.

    Args:
        seed: Decides everything; the same one gives the same trace.
        calls: In all.
        limits: Draws them; default: budgets, tokens, requests and slots of several windows.
        plugin: What holds them; another one in tests of this simulation.
    """
    run = _Run(seed, calls, limits or _limits, plugin)
    run_virtually(run.main, seed=seed, noise=0.001)
    journal = run.shared.journal
    return FleetResult(
        seed=seed,
        violations=tuple(journal.violations),
        trace_hash=journal.digest(),
        calls=dict(sorted(run.ended.items())),
        sent=len(run.shared.bills),
        crashes=run.crashes,
        flushes=run.flushes,
        seconds=journal.now(),
    )


def _limits(dice: random.Random) -> list[Limit]:
    found: list[Limit] = [Budget("team", dice.randint(4, 60) * CALL, ERA, assume_output=LONGEST)]
    others: list[Limit] = [
        Budget("global", dice.randint(20, 100) * CALL, Rolling(60.0), assume_output=LONGEST),
        Budget("tenant", dice.randint(20, 200) * CALL, Calendar("hour"), assume_output=LONGEST),
        Budget("deployment", dice.randint(20, 80) * CALL, Rolling(300.0), assume_output=LONGEST),
        Budget("global", 10 * CALL, ERA, shadow=True, assume_output=LONGEST),
        Budget("user", 2 * CALL, Calendar("day", "Europe/Berlin"), hard=False, assume_output=LONGEST),
        TokenLimit("team", dice.randint(20, 100) * 150, Rolling(120.0), assume_output=LONGEST),
        TokenLimit("team=red", 40 * 150, 600.0, assume_output=LONGEST),
        Budget("tag:job", dice.randint(20, 80) * CALL, Calendar("hour"), assume_output=LONGEST),
        TokenLimit("extra:desk", dice.randint(20, 100) * 150, Rolling(120.0), assume_output=LONGEST),
        RequestLimit("user", dice.randint(3, 40), Rolling(60.0)),
        ConcurrencyLimit("global", dice.randint(2, 12)),
    ]
    return found + [one for one in others if dice.random() < 0.5]


class _Run:
    def __init__(
        self,
        seed: int,
        calls: int,
        limits: Callable[[random.Random], list[Limit]],
        plugin: Callable[[list[Limit]], object],
    ) -> None:
        self.seed = seed
        self.dice = random.Random(f"fleet/{seed}")  # noqa: S311 - not for cryptography
        self.limits = limits(self.dice)
        self._plugin = plugin
        self._calls = calls
        self.ended: Counter[str] = Counter()
        self.crashes = self.flushes = 0

    async def main(self, loop: VirtualLoop) -> None:
        journal, clock = Journal(loop.time), LoopClock(loop)
        cap = next(one.limit for one in self.limits if isinstance(one, Budget) and one.scope == "team")
        books = Books(journal, cap)
        shared = self.shared = Shared(
            seed=self.seed,
            dice=self.dice,
            plugin=lambda: self._plugin(self.limits),
            journal=journal,
            clock=clock,
            books=books,
            state=State(clock, journal, books.ended),
        )
        self._nodes = [Node(shared, f"node-{number}") for number in range(self.dice.randint(2, 4))]
        sweeper = loop.create_task(self._sweep())
        troubles = loop.create_task(self._trouble())
        callers = []
        for number in range(self._calls):
            await asyncio.sleep(self.dice.expovariate(2.0))
            node = self.dice.choice(self._nodes)
            task = loop.create_task(self._call(node, number))
            node.tasks.add(task)
            task.add_done_callback(node.tasks.discard)
            callers.append(task)
        await asyncio.gather(*callers, return_exceptions=True)
        await troubles
        await asyncio.sleep(LEASE + SWEEP + 1)
        sweeper.cancel()
        await self._at_rest()
        for node in self._nodes:
            journal.check(not node.tasks, "leak", lambda: "tasks are left over")

    # ------------------------------------------------------------ what happens

    async def _call(self, node: Node, number: int) -> None:
        dice, status = self.dice, "success"
        who = Context(
            tenant="acme",
            team=dice.choice(TEAMS),
            user=dice.choice(USERS),
            extra={"desk": dice.choice(("1", "2"))},
        )
        leaves = dice.uniform(0.0, 8.0) if dice.random() < 0.15 else None
        tags = {"job": dice.choice(("nightly", "daily"))}
        params = {"max_tokens": LONGEST, "context": who, "call_id": f"call-{number}", "tags": tags}
        try:
            async with asyncio.timeout(leaves):
                if dice.random() < 0.5:
                    await node.gateway.acomplete("fast", "what does it cost?", **params)  # type: ignore[arg-type]
                else:
                    async with aclosing(node.gateway.astream("fast", "and this?", **params)) as chunks:  # type: ignore[arg-type]
                        async for _ in chunks:
                            pass
        except asyncio.CancelledError:
            status = "crashed"
        except TimeoutError:
            status = "left"
        except RequestDenied:
            status = "denied"
        except (AllDeploymentsUnavailable, ProviderError):
            status = "error"
        self.ended[status] += 1
        self.shared.journal.note("got", number, status)

    async def _trouble(self) -> None:
        """Crashes and flushes, at any moment."""
        dice = self.dice
        for what in dice.choices(("crash", "flush", "nothing"), k=dice.randint(0, 4)):
            await asyncio.sleep(dice.uniform(3.0, 20.0))
            self.shared.journal.note(what)
            if what == "crash":
                self.crashes += 1
                node = dice.choice(self._nodes)
                self._nodes[self._nodes.index(node)] = Node(self.shared, f"after-crash-{self.crashes}")
                await node.crash()
            elif what == "flush":
                self.flushes += 1
                self.shared.empty_state()

    async def _sweep(self) -> None:
        """What a gateway's ledger does from time to time: attempts whose time is over are given up."""
        while True:
            await asyncio.sleep(SWEEP)
            self.shared.books.recover(older_than=LEASE, now=self.shared.clock.time())

    async def _at_rest(self) -> None:
        """Every attempt has its end, nothing is held, and all sums are the same."""
        check_books(self.shared, crashed=self.crashes > 0)
        if self.crashes:  # counters are off by what was under way; whoever asks next counts anew
            self.shared.empty_state()
        if self.crashes or self.flushes:
            node = self._nodes[0]
            for team in TEAMS:
                for user in USERS:
                    who = Context(tenant="acme", team=team, user=user)
                    with suppress(RequestDenied, AllDeploymentsUnavailable, ProviderError):
                        await node.gateway.acomplete("fast", "and now?", max_tokens=LONGEST, context=who)
        rows = self.shared.books.attempts()
        for limit in self.limits:
            compare_counts(self.shared, limit, rows)
