"""A simulated fleet: gateways that share limits and books, crash in mid-call, and find the state emptied."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from llmgate_plugins.context import Context
from llmgate_plugins.errors import AllDeploymentsUnavailable, ProviderError, RequestDenied, StorageError
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS, compared_value
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.plugins import Budget, ConcurrencyLimit, Limit, Limits, RequestLimit, TokenLimit
from llmgate_plugins.services import AttemptIntent, Grant, Lease, Reservation, Settlement
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.meters import Meter
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.options import Violation
from llmgate_plugins.types import Attempt, Chunk, Deployment, Price, Request, Response, Usage
from llmgate_plugins.virtual_time import LoopClock, LoopSleeper, VirtualLoop, run_virtually
from llmgate_plugins.windows import Calendar, Rolling, Window

__all__ = ["FleetResult", "simulate_fleet"]

TEAMS: Final = ("red", "blue", "green")
USERS: Final = tuple(f"u{number}" for number in range(5))
LONGEST: Final = 100
"""Output tokens of an answer."""
CALL: Final = 250
"""Nano-dollars that are held for one call, about."""
DEADLINE: Final = 20.0
LEASE: Final = DEADLINE + 60.0
"""Seconds after which what limits hold for a call ends by itself."""
SWEEP: Final = 4.0
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
    journal = run.journal
    return FleetResult(
        seed=seed,
        violations=tuple(journal.violations),
        trace_hash=journal.digest(),
        calls=dict(sorted(run.ended.items())),
        sent=len(run.bills),
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


class _Books(MemoryLedger):
    """The books of all, which know at every step what each team has spent or may yet spend."""

    durable = True

    def __init__(self, journal: Journal, cap: int) -> None:
        super().__init__(limit=1_000_000)
        self._journal = journal
        self._cap = cap
        self.opened: dict[tuple[str, int], AttemptIntent] = {}
        self.committed: Counter[str] = Counter()

    def open_attempt(self, intent: AttemptIntent) -> None:
        key = (intent.call_id, intent.number)
        self._journal.check(key not in self.opened, "I1", lambda: f"attempt {key} has two rows")
        self.opened[key] = intent
        team = intent.labels["team"]
        self.committed[team] += intent.reserve
        self._journal.check(
            self.committed[team] <= self._cap,
            "I3",
            lambda: f"the books of {team}: {self.committed[team]} spent and held of {self._cap}",
        )
        super().open_attempt(intent)

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        settled = super().settle_attempt(call_id, number, settlement)
        key = (call_id, number)
        self._journal.check(settled, "I2", lambda: f"attempt {key} was settled twice, or never begun")
        if settled:
            intent = self.opened[key]
            self.committed[intent.labels["team"]] += settlement.cost - intent.reserve
        return settled

    def recover(self, *, older_than: float, now: float) -> int:
        left = [row for row in self.attempts() if row["status"] == "intent" and row["at"] < now - older_than]
        for row in left:
            intent = self.opened[row["call_id"], row["number"]]
            self.committed[row["team"]] += intent.estimate - intent.reserve
        return super().recover(older_than=older_than, now=now)


class _Node:
    """One process: what it asks of others takes its time, and stops when it has crashed."""

    def __init__(self, run: _Run, name: str) -> None:
        self.alive = True
        self.tasks: set[asyncio.Task[None]] = set()
        self._run = run
        self._dice = random.Random(f"{run.seed}/{name}")  # noqa: S311 - not for cryptography
        self.gateway = Gateway(
            run.deployments,
            plugins=[run.plugin],
            transport=_Provider(run, self),
            clock=run.clock,
            sleeper=LoopSleeper(),
            random=self._dice,
            state=_Distant(self, lambda: run.state),
            ledger=_Distant(self, lambda: run.books),
            deadline=DEADLINE,
        )

    async def asks(self, work: Callable[[], Any]) -> Any:
        """Have something done elsewhere, a moment away."""
        await asyncio.sleep(self._dice.uniform(0.0, 0.01))
        self._still_there()
        done = work()
        await asyncio.sleep(self._dice.uniform(0.0, 0.01))
        self._still_there()
        return done

    def _still_there(self) -> None:
        if not self.alive:
            raise StorageError("this process has crashed")

    async def crash(self) -> None:
        """From here nothing of it has any effect."""
        self.alive = False
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Distant:
    """A state or a ledger as one process has it: every answer is pending."""

    durable = True

    def attend(self, clock: object) -> None:
        """Housekeeping is done by the fleet."""

    def __init__(self, node: _Node, there: Callable[[], Any]) -> None:
        self._node = node
        self._there = there

    def __getattr__(self, name: str) -> Any:
        def ask(*given: Any, **named: Any) -> Coroutine[Any, Any, Any]:
            return self._node.asks(lambda: getattr(self._there(), name)(*given, **named))

        return ask


class _Provider:
    """Bills when it is asked, answers after a while, and sometimes fails."""

    def __init__(self, run: _Run, node: _Node) -> None:
        self._run = run
        self._node = node

    def _take(self, attempt: Attempt) -> tuple[float, Usage]:
        run, dice, key = self._run, self._run.dice, (attempt.call_id, attempt.number)
        if not self._node.alive:
            raise ProviderError("nobody is there to ask")
        fails = dice.random() < 0.15
        usage = Usage(input=5, output=0 if fails else dice.randint(1, LONGEST))
        run.journal.check(key not in run.bills, "I1", lambda: f"attempt {key} was sent twice")
        run.journal.check(key in run.books.opened, "I1", lambda: f"attempt {key} was sent without a row")
        run.bills.add(key)
        run.journal.note("sent", *key, attempt.deployment.id)
        if fails:
            raise ProviderError("not now", status=503)
        return dice.uniform(0.1, 6.0), usage

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Nobody calls outside of the loop."""
        raise NotImplementedError

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """Nobody calls outside of the loop."""
        raise NotImplementedError

    async def asend(self, attempt: Attempt, request: Request) -> Response:  # noqa: ARG002 - the interface
        seconds, usage = self._take(attempt)
        await asyncio.sleep(seconds)
        return Response.of("word", usage=usage)

    async def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:  # noqa: ARG002
        seconds, usage = self._take(attempt)
        for _ in range(3):
            await asyncio.sleep(seconds / 4)
            yield Chunk(text="word ")
        await asyncio.sleep(seconds / 4)
        yield Chunk(text="word", finish_reason="stop", usage=usage)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002 - the interface
        """A meter for one stream."""
        return ChunkMeter()


class _State(MemoryState):
    """The state of all, with a look at every limit that grants (I3)."""

    def __init__(self, clock: LoopClock, journal: Journal) -> None:
        super().__init__(clock, random.Random(0))  # noqa: S311 - not for cryptography
        self._journal = journal
        self._ended: dict[str, Mapping[str, int]] = {}

    def _finish(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        self._ended.setdefault(lease.id, actual)
        return super()._finish(lease, actual)

    def _take_over(self, meter: Meter, id: str, *given: Any) -> None:
        """As on a server: a lease that was settled while the books were read is not held again."""
        ended = self._ended.get(id)
        if ended is None:
            super()._take_over(meter, id, *given)
        else:
            (meter.newest or meter).add(ended.get(meter.key, 0), 0)

    def reserve(self, *given: Any, **named: Any) -> Any:
        answer = super().reserve(*given, **named)
        if isinstance(answer, Grant):
            # As on another machine: a lease is its id, and means nothing to a state that is new.
            answer = replace(answer, lease=Lease(id=answer.lease.id, reservations=answer.lease.reservations))
            for wanted, level in zip(answer.lease.reservations, answer.levels, strict=True):
                if wanted.enforced:
                    self._journal.check(
                        level.spent + level.held <= level.limit,
                        "I3",
                        lambda level=level: f"{level.key}: {level.spent} and {level.held} of {level.limit}",  # type: ignore[misc]
                    )
        return answer

    def knows(self, key: str, window: Window | float | None) -> bool:
        """Whether it counts this, and need not ask the books."""
        nothing = Reservation(key=key, amount=0, limit=0, window=window, enforced=False, seed=True)
        answer = super().reserve((nothing,), ttl=1.0)
        return isinstance(answer, Grant) and self.release(answer.lease)


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
        self.deployments = [
            Deployment(
                id=f"d{number}",
                alias="fast",
                provider=f"p{number}",
                model="m",
                price=Price(input=1_000_000, output=2_000_000),
            )
            for number in range(3)
        ]
        self.ended: Counter[str] = Counter()
        self.bills: set[tuple[str, int]] = set()
        self.crashes = self.flushes = 0

    @property
    def plugin(self) -> object:
        """For one gateway."""
        return self._plugin(self.limits)

    async def main(self, loop: VirtualLoop) -> None:
        self.journal = Journal(loop.time)
        self.clock = LoopClock(loop)
        cap = next(one.limit for one in self.limits if isinstance(one, Budget) and one.scope == "team")
        self.books = _Books(self.journal, cap)
        self.state = _State(self.clock, self.journal)
        self._nodes = [_Node(self, f"node-{number}") for number in range(self.dice.randint(2, 4))]
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
            self.journal.check(not node.tasks, "leak", lambda: "tasks are left over")

    # ------------------------------------------------------------ what happens

    async def _call(self, node: _Node, number: int) -> None:
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
        self.journal.note("got", number, status)

    async def _trouble(self) -> None:
        """Crashes and flushes, at any moment."""
        dice = self.dice
        for what in dice.choices(("crash", "flush", "nothing"), k=dice.randint(0, 4)):
            await asyncio.sleep(dice.uniform(3.0, 20.0))
            self.journal.note(what)
            if what == "crash":
                self.crashes += 1
                node = dice.choice(self._nodes)
                self._nodes[self._nodes.index(node)] = _Node(self, f"after-crash-{self.crashes}")
                await node.crash()
            elif what == "flush":
                self.flushes += 1
                self.state = _State(self.clock, self.journal)

    async def _sweep(self) -> None:
        """What a gateway's ledger does from time to time: attempts whose time is over are given up."""
        while True:
            await asyncio.sleep(SWEEP)
            self.books.recover(older_than=LEASE, now=self.clock.time())

    # ------------------------------------------------------------ at rest

    async def _at_rest(self) -> None:
        """I1, I2, I4: every attempt has its end, nothing is held, and all sums are the same."""
        journal, rows, calls = self.journal, self.books.attempts(), self.books.calls()
        known = {(row["call_id"], row["number"]): row for row in rows}
        journal.check(self.bills <= known.keys(), "I1", lambda: f"{self.bills - known.keys()} have no row")
        open_ = [key for key, row in known.items() if row["status"] == "intent"]
        journal.check(not open_, "I2", lambda: f"{open_} were never settled, nor recovered")
        over = {row["call_id"]: row["cost_nano_usd"] for row in calls}
        spent: defaultdict[str, int] = defaultdict(int)
        for (call_id, _), row in known.items():
            spent[call_id] += row["cost_nano_usd"]
        wrong = [call for call, cost in over.items() if spent[call] != cost]
        journal.check(not wrong, "I4", lambda: f"calls {wrong[:3]} cost otherwise than their attempts")
        lost = [call for call in spent if call not in over]
        journal.check(self.crashes > 0 or not lost, "end", lambda: f"calls {lost[:3]} have no terminal row")
        if self.crashes:  # counters are off by what was under way; whoever asks next counts anew
            self.state = _State(self.clock, self.journal)
        if self.crashes or self.flushes:
            node = self._nodes[0]
            for team in TEAMS:
                for user in USERS:
                    who = Context(tenant="acme", team=team, user=user)
                    with suppress(RequestDenied, AllDeploymentsUnavailable, ProviderError):
                        await node.gateway.acomplete("fast", "and now?", max_tokens=LONGEST, context=who)
        rows = self.books.attempts()
        for limit in self.limits:
            self._compare(limit, rows)

    def _compare(self, limit: Limit, rows: list[dict[str, Any]]) -> None:
        """I4: each count of a limit is what the books say, and none of it is held."""
        window = limit.window
        start = 0.0 if window is None else window.bounds(self.clock.time())[0]  # type: ignore[union-attr]
        # A row is a moment younger than its hold, which may have fallen into the part before.
        near = window.part if isinstance(window, Rolling) else 0.1
        least: Counter[tuple[Any, ...]] = Counter()
        most: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            values = tuple(compared_value(row, scope.column) for scope in limit.scopes)
            if all(scope.only in (None, one) for scope, one in zip(limit.scopes, values, strict=True)):
                used = row["cost_nano_usd"] if limit.kind == "budget" else _tokens(row)
                most[values] += used if row["at"] >= start - near else 0
                least[values] += used if row["at"] >= start + near else 0
        for values in most:
            key = limit.key(*values)
            if not self.state.knows(key, window):
                continue  # nobody has asked for it since the state was emptied
            spent, held = self.state.spent(key, window=window)
            self.journal.check(held == 0, "I4", lambda key=key, held=held: f"{held} of {key} is held")  # type: ignore[misc]
            told = f"{key} counts {spent}, the books {least[values]} to {most[values]}"
            if limit.kind in ("budget", "tokens"):
                self.journal.check(least[values] <= spent <= most[values], "I4", lambda told=told: told)  # type: ignore[misc]


def _tokens(row: dict[str, Any]) -> int:
    return sum(row[column] for column in TOKEN_COLUMNS)
