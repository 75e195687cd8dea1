"""Deployments with a speed and a capacity, and gateways that choose among them: events on virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.plugins import Observations
from llmgate_plugins.plugins.preferences import Preferring
from llmgate_plugins.services import Services
from llmgate_plugins.testing import VirtualClock
from llmgate_plugins.types import Attempt, Deployment, Outcome, Price, Usage
from support.values import a_call, a_deployment, a_request, some_services

__all__ = ["Ended", "Server", "World"]


@dataclass
class Server:
    """One deployment as it really is.

    Attributes:
        median: Seconds of half of its answers, by the time.
        spread: Of their logarithms: 0 for answers that all take the same.
        capacity: So many calls at once it serves at that speed; of more, each takes longer.
        load: Calls it is serving.
        peak: The most it ever served at once.
    """

    id: str
    median: Callable[[float], float]
    usd: float = 1.0
    spread: float = 0.3
    capacity: float = 1e9
    load: int = 0
    peak: int = 0
    deployment: Deployment = field(init=False)

    def __post_init__(self) -> None:
        rate = int(self.usd * 1_000_000_000)
        self.deployment = a_deployment(self.id, price=Price(input=rate, output=rate))

    def takes(self, now: float, lots: random.Random) -> float:
        """Seconds that a call takes which begins now."""
        seconds = self.median(now) * lots.lognormvariate(0.0, self.spread)
        return seconds * max(1.0, self.load / self.capacity)


@dataclass
class Ended:
    """One call that is over."""

    at: float
    server: str
    seconds: float
    usd: float


class _Process:
    """One gateway: a preference, and what it has seen itself."""

    def __init__(self, preference: Preferring, clock: VirtualClock) -> None:
        self.preference = preference
        self.store = Observations()
        services: Services = some_services()
        self.services = replace(services, clock=clock, plugins=(("Observations", self.store),))


class World:
    """Calls come at random, each to one of several gateways that know nothing of each other.

    Args:
        servers: What there is to choose from.
        preference: Makes one for each gateway.
        gateways: How many there are.
        seed: Of when calls come and how long they take.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        preference: Callable[[], Preferring],
        *,
        gateways: int = 1,
        seed: int = 1,
        context: Context = NOBODY,
    ) -> None:
        self.clock = VirtualClock(monotonic=0.0)
        self.servers = {one.id: one for one in servers}
        self.group = tuple(one.deployment for one in servers)
        self.ended: list[Ended] = []
        self._processes = [_Process(preference(), self.clock) for _ in range(gateways)]
        self._lots = random.Random(seed)
        self._context = context
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def run(self, seconds: float, rate: float) -> World:
        """Calls for so long, so many each second on average, and until the last one is answered."""
        at, until = self.clock.monotonic(), self.clock.monotonic() + seconds
        while True:
            at += self._lots.expovariate(rate)
            if at > until:
                break
            self._at(at, self._call)
        while self._events:
            when, _, happen = heapq.heappop(self._events)
            self.clock.advance(max(0.0, when - self.clock.monotonic()))
            happen()
        return self

    def at_once(self, calls: int) -> World:
        """So many calls at the same moment, none of which is answered yet."""
        for _ in range(calls):
            self._call()
        return self

    def share(self, id: str, since: float = 0.0, until: float = 1e9) -> float:
        """Which share of the calls of a time one of them had."""
        those = [one for one in self.ended if since <= one.at < until]
        return sum(one.server == id for one in those) / len(those)

    def late(self, goal: float) -> float:
        """Which share of all calls took longer."""
        return sum(one.seconds > goal for one in self.ended) / len(self.ended)

    @property
    def cost(self) -> float:
        """US dollars per million tokens, on average."""
        return sum(one.usd for one in self.ended) / len(self.ended)

    @property
    def mean(self) -> float:
        """Seconds."""
        return sum(one.seconds for one in self.ended) / len(self.ended)

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), happen))

    def _call(self) -> None:
        number = next(self._numbers)
        process = self._processes[self._lots.randrange(len(self._processes))]
        call: Any = a_call(a_request(), self._context, call_id=f"call-{number}")
        ranking: Any = process.preference.rank(
            call.request, self.group, self._context, call, process.services
        )
        deployment = self.group[0] if ranking is None else ranking.order[0]
        server, now = self.servers[deployment.id], self.clock.monotonic()
        server.load += 1
        server.peak = max(server.peak, server.load)
        seconds = server.takes(now, self._lots)
        attempt = Attempt(
            call_id=call.id, number=1, deployment=deployment, alias="fast", reason="first", started=now
        )
        process.store.begin_attempt(attempt, call)

        def end() -> None:
            server.load -= 1
            outcome = Outcome(status="success", latency=seconds, usage=Usage(input=10, output=100))
            process.store.end_attempt(attempt, outcome, self._context, call, process.services)
            call.record.status, call.record.latency = "success", seconds
            process.store.end_call(call.record, call, process.services)
            self.ended.append(Ended(now, server.id, seconds, server.usd))

        self._at(now + seconds, end)
