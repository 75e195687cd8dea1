"""Outages in virtual time: how soon traffic is back, how gently, and what it costs while nothing works."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from support.gateways import Scene, scene

from llmgate_plugins import Message, ProviderError, Request, Response
from llmgate_plugins.gateway import Send
from llmgate_plugins.plugins import Failover, Weighted
from llmgate_plugins.plugins.health import Health

REQUEST = Request(model="fast", messages=(Message(role="user", content="hello"),))
World = Callable[[str, float], "tuple[float, Exception | None]"]
"""Deployment and time -> how long it takes, and what is raised in place of an answer."""


@dataclass
class Ended:
    """One call, as its caller saw it."""

    began: float
    tried: list[str]
    statuses: list[str]
    error: Exception | None


class Traffic:
    """Calls that overlap, each stepped by hand, in the order in which things happen."""

    def __init__(self, one: Scene, world: World) -> None:
        self.one = one
        self.world = world
        self.ended: list[Ended] = []
        self._events: list[tuple[float, int, Generator[Any, Any, Any], float, Any]] = []
        self._count = 0

    @property
    def now(self) -> float:
        return self.one.clock.monotonic()

    def run(self, seconds: float, rate: float) -> None:
        """So many calls a second, evenly, for so long; then the rest comes in."""
        began, calls = self.now, round(seconds * rate)
        for place in range(calls):
            self._push(began + place / rate, self.one.gateway.steps(REQUEST), 0.0, None)
        self._go(began + seconds)

    def _go(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            at, _, steps, began, answer = heapq.heappop(self._events)
            if at > self.now:
                self.one.clock.advance(at - self.now)
            self._step(steps, began or self.now, answer)
        if until > self.now:
            self.one.clock.advance(until - self.now)

    def _step(self, steps: Generator[Any, Any, Any], began: float, answer: Any) -> None:
        try:
            if answer is None:
                step = next(steps)
            elif isinstance(answer, Exception):
                step = steps.throw(answer)
            else:
                step = steps.send(answer)
        except Exception as error:
            self._end(began, error)
            return
        if not isinstance(step, Send):
            self._end(began, None)
            return
        where = step.attempt.deployment.id
        seconds, failed = self.world(where, self.now)
        self._push(self.now + seconds, steps, began, failed or Response.of("ok", deployment_id=where))

    def _end(self, began: float, error: Exception | None) -> None:
        attempts = self.one.gateway.decisions[-1].attempts
        tried = [attempt.deployment.id for attempt, _ in attempts]
        self.ended.append(Ended(began, tried, [outcome.status for _, outcome in attempts], error))

    def _push(self, at: float, steps: Generator[Any, Any, Any], began: float, answer: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, steps, began, answer))


def broken(kind: str) -> Exception:
    if kind == "connection":
        return ProviderError("Connection error.", code="connection")
    return ProviderError("down", status=int(kind))


def outage(begin: float, end: float, kind: str, latency: float, ill: str = "a") -> World:
    """A deployment that is down for a time and answers after `latency` otherwise."""

    def world(where: str, now: float) -> tuple[float, Exception | None]:
        if where in ill and begin <= now < end:
            return 0.05, broken(kind)
        return latency, None

    return world


@pytest.mark.parametrize("ranking", ["in_order", "weighted"])
@pytest.mark.parametrize("kind", ["connection", "500", "503"])
@pytest.mark.parametrize("minutes", [1.0, 2.0])
def test_traffic_is_back_within_20_s_of_an_outage_of_a_minute_or_two(
    minutes: float, kind: str, ranking: str
) -> None:
    for seed in range(3):
        plugins = [Health(), *([Weighted()] if ranking == "weighted" else [])]
        one = scene({"a": ["ok"], "b": ["ok"]}, *plugins, seed=seed)
        begin = one.clock.monotonic() + 10.0 + seed
        healed = begin + 60.0 * minutes
        traffic = Traffic(one, outage(begin, healed, kind, latency=2.0))
        traffic.run(10.0 + seed + 60.0 * minutes + 20.0, rate=4.0)
        states = {row.state.value for row in plugins[0].report(one.clock.monotonic())}  # type: ignore[union-attr]
        assert states <= {"closed", "slow_start"}, (seed, states)
        assert all(call.error is None for call in traffic.ended), "no caller notices"
        mended = [
            c
            for c in traffic.ended
            if c.began >= healed and c.tried[-1] == "a" and c.statuses[-1] == "success"
        ]
        assert mended, seed


def shares(traffic: Traffic, since: float, width: float) -> list[float]:
    """The share of the calls that "a" served, per so many seconds."""
    bins: dict[int, list[bool]] = {}
    for call in traffic.ended:
        if call.began >= since:
            bins.setdefault(int((call.began - since) // width), []).append(call.tried[-1] == "a")
    return [sum(bins[place]) / len(bins[place]) for place in sorted(bins)]


def test_a_recovered_deployment_gets_a_share_that_grows_for_30_s() -> None:
    closed: list[float] = []
    health = Health(
        on_change=lambda change: (
            closed.append(one.clock.monotonic()) if change.after == "slow_start" else None
        )
    )
    one = scene({"a": ["ok"], "b": ["ok"]}, health)
    begin = one.clock.monotonic() + 5.0
    traffic = Traffic(one, outage(begin, begin + 60.0, "connection", latency=0.5))
    traffic.run(130.0, rate=50.0)
    assert len(closed) == 1
    found = shares(traffic, closed[0], 5.0)
    wanted = [0.12, 0.25, 0.42, 0.58, 0.75, 0.92, 1.0, 1.0]
    for share, expected in zip(found, wanted, strict=False):
        assert share == pytest.approx(expected, abs=0.12)


def warming(begin: float, healed: float, rate: float) -> World:
    """A provider that comes back cold: it refuses what exceeds a capacity that grows for 40 s."""
    seen: dict[int, int] = {}

    def world(where: str, now: float) -> tuple[float, Exception | None]:
        if where == "b":
            return 0.2, None
        if begin <= now < healed:
            return 0.05, broken("503")
        second = int(now)
        seen[second] = seen.get(second, 0) + 1
        capacity = rate * (0.3 + (now - healed) / 40.0) if now >= healed else 10 * rate
        return (0.05, broken("503")) if seen[second] > capacity else (0.2, None)

    return world


def dips(health: Health) -> int:
    one = scene({"a": ["ok"], "b": ["ok"]}, health, Failover(), defaults=False)
    begin = one.clock.monotonic() + 5.0
    traffic = Traffic(one, warming(begin, begin + 60.0, rate=40.0))
    traffic.run(140.0, rate=40.0)
    after = [call for call in traffic.ended if call.began >= begin + 60.0]
    assert all(call.error is None for call in after)
    return sum(call.statuses[0] == "error" for call in after)


def test_a_provider_that_comes_back_cold_has_no_second_dip() -> None:
    gentle, sudden = dips(Health()), dips(Health(slow_start=0.0))
    assert gentle == 0
    assert sudden >= 10, "without the slow start it has one"


@pytest.mark.parametrize("group", ["a", "ab", "abcd"])
def test_a_storm_against_a_dead_provider_costs_one_attempt_a_call_and_no_sleep(group: str) -> None:
    health = Health()
    one = scene({name: ["ok"] for name in group}, health, Failover())
    begin = one.clock.monotonic()
    traffic = Traffic(one, outage(begin, begin + 60.0, "connection", latency=0.2, ill=group))
    traffic.run(2.0, rate=30.0)
    slept, before = len(one.sleeper.slept), len(traffic.ended)
    traffic.run(58.0, rate=30.0)
    during = traffic.ended[before:]
    sent = sum(call.statuses.count("error") for call in during)
    assert len(during) > 1_500
    assert all(isinstance(call.error, ProviderError) for call in during)
    assert sent <= 1.1 * len(during)
    assert len(one.sleeper.slept) == slept, "nobody waits for what is known to be down"
    healed = len(traffic.ended)
    traffic.run(40.0, rate=20.0)
    late = [call for call in traffic.ended[healed:] if call.began >= begin + 60.0]
    assert [call for call in late if call.error is not None] == []
    rows = {row.name: row.state.value for row in health.report(one.clock.monotonic())}
    assert rows.pop("a", "closed") in ("closed", "slow_start")
    assert set(rows.values()) <= {"half_open"}, "the others wait for a call that needs them"


def test_a_sibling_that_has_healed_takes_over_though_few_have_tried_it_yet() -> None:
    """Both were down; only the second comes back. It is not left to one call at a time for long."""
    one = scene({"a": ["ok"], "b": ["ok"]}, Health(), Failover())
    begin = one.clock.monotonic()

    def world(where: str, now: float) -> tuple[float, Exception | None]:
        down = now < begin + (60.0 if where == "b" else 600.0)
        return (0.05, broken("connection")) if down else (2.0, None)

    traffic = Traffic(one, world)
    traffic.run(90.0, rate=20.0)
    first = min(call.began for call in traffic.ended if call.error is None)
    assert first - begin <= 60.0 + 8.0 * 1.2 + 0.5
    failed = [call.began for call in traffic.ended if call.error is not None]
    assert max(failed) <= first + 2.1, "from its first answer on, all calls are let through"


def test_an_outage_of_one_key_is_over_with_one_answer_after_it_was_topped_up() -> None:
    health = Health()
    one = scene({"a": ["ok"], "b": ["ok"]}, health)
    begin = one.clock.monotonic() + 5.0
    empty = ProviderError("no money", status=429, code="insufficient_quota")

    def world(where: str, now: float) -> tuple[float, Exception | None]:
        return (0.05, empty) if where == "a" and begin <= now < begin + 100.0 else (0.2, None)

    traffic = Traffic(one, world)
    traffic.run(500.0, rate=5.0)
    refused = [call.began - begin for call in traffic.ended if "error" in call.statuses]
    assert len(refused) == 2, "the first, and one probe a minute later"
    assert traffic.ended[-1].tried == ["a"]
    assert all(call.error is None for call in traffic.ended)
