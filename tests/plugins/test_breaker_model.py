"""Breakers against a model that is too simple to be wrong, and health under any order of events."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.gateways import deployment

from llmgate_plugins import Attempt, Call, Deployment, Endpoint, ErrorClass, Failure, Outcome, Request, Scope
from llmgate_plugins.context import NOBODY
from llmgate_plugins.decisions import Skip
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins.health import Ailment, Health, State
from llmgate_plugins.plugins.health.breaker import Breaker
from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.scopes import HARD, Finding, Key
from llmgate_plugins.records import DecisionRecord, Selection
from llmgate_plugins.secrets import Secret
from llmgate_plugins.services import Services
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import VirtualClock, VirtualSleeper

NUMBERS = Numbers(jitter=0.0)
KEY = Key("deployment", "a")


@dataclass
class Model:
    """Keeps every outcome since it last closed, and reckons everything anew from them."""

    ailment: Ailment
    state: str = "closed"
    until: float = 0.0
    since: float = -math.inf
    outcomes: list[tuple[float, bool]] = field(default_factory=list)
    answers: int = 0
    ejections: list[float] = field(default_factory=list)
    """When each ejection that still counts was ended by closing; infinite while it has not."""

    def pass_time(self, now: float) -> None:
        if self.state == "ejected" and now >= self.until:
            self.state, self.until = "half_open", self.until + (86_400.0 if self.hard else 300.0)
        if self.state == "half_open" and now >= self.until:
            self.close(now)
        if self.state == "probing" and now >= self.until:
            self.state, self.until = "half_open", now + (86_400.0 if self.hard else 300.0)
        if self.state == "slow_start" and now >= self.until:
            self.state = "closed"

    @property
    def hard(self) -> bool:
        return self.ailment in HARD

    def row(self) -> int:
        """Failures in a row."""
        failures = 0
        for _, failed in reversed(self.outcomes):
            if not failed:
                break
            failures += 1
        return failures

    def fail(self, now: float) -> None:
        if self.state not in ("closed", "slow_start"):
            self.answers = 0
            return
        self.outcomes.append((now, True))
        weights = [math.exp((at - now) / 30.0) for at, _ in self.outcomes]
        failed = sum(w for w, (_, bad) in zip(weights, self.outcomes, strict=True) if bad)
        often = sum(weights) >= 9.5 and failed >= 0.5 * sum(weights)
        if self.hard or self.row() >= 5 or often:
            self.eject(now)

    def eject(self, now: float) -> None:
        calm = int((now - self.closed) // 60.0) if self.ejections and self.closed < math.inf else 0
        self.ejections = [*self.ejections[: max(0, len(self.ejections) - calm)], now]
        self.closed = math.inf
        first, most = (60.0, 300.0) if self.hard else (15.0, 300.0)
        most = 8.0 if self.ailment in (Ailment.TRANSPORT, Ailment.OVERLOAD) else most
        self.state, self.since = "ejected", now
        self.until = now + min(most, first * 2 ** (len(self.ejections) - 1))
        self.outcomes, self.answers = [], 0

    closed: float = math.inf

    def close(self, now: float) -> None:
        self.state, self.until = ("closed", 0.0) if self.hard else ("slow_start", now + 30.0)
        self.since = self.closed = now
        self.outcomes, self.answers = [], 0

    def answer(self, now: float, *, probe: bool) -> None:
        if self.state in ("closed", "slow_start"):
            self.outcomes.append((now, False))
        elif probe or not self.hard:
            self.answers += 1
            if self.answers >= (1 if self.hard else 3):
                self.close(now)
            elif probe:
                self.free(now)

    def free(self, now: float) -> None:
        self.state, self.until = "half_open", now + (86_400.0 if self.hard else 300.0)


class BreakerMachine(RuleBasedStateMachine):
    """Time, outcomes and probes in any order, for one breaker of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        kinds = [one for one in Ailment if one is not Ailment.THROTTLE]
        self.pairs = [(Breaker(KEY, one, NUMBERS), Model(one)) for one in kinds]
        self.random = random.Random(0)

    def finding(self, ailment: Ailment) -> Finding:
        return Finding(KEY, ailment, "ill", None, gone=False)

    @rule(seconds=st.one_of(st.floats(0.0, 20.0), st.sampled_from([8.0, 15.0, 30.0, 60.0, 61.0, 301.0, 1e4])))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for breaker, model in self.pairs:
            while breaker.wakes <= self.now:
                breaker.wake(self.now)
            model.pass_time(self.now)

    @rule(times=st.integers(1, 6))
    def fail(self, times: int) -> None:
        for breaker, model in self.pairs:
            for _ in range(times):
                breaker.fail(self.finding(breaker.ailment), self.now, self.now, self.random.random())
                model.fail(self.now)

    @rule(times=st.integers(1, 4))
    def answer(self, times: int) -> None:
        for breaker, model in self.pairs:
            for _ in range(times):
                breaker.succeed(self.now, self.now, probe=False)
                model.answer(self.now, probe=False)

    @rule(late=st.floats(0.001, 100.0))
    def what_began_before_does_not_count(self, late: float) -> None:
        for breaker, _ in self.pairs:
            if breaker.since > -math.inf:
                breaker.fail(
                    self.finding(breaker.ailment), breaker.since - late, self.now, self.random.random()
                )
                breaker.succeed(breaker.since - late, self.now, probe=False)

    @rule()
    def take_the_slot(self) -> None:
        for breaker, model in self.pairs:
            if breaker.state is State.HALF_OPEN:
                breaker.claim(self, self.now)
                model.state, model.until = "probing", self.now + 60.0

    @rule(end=st.sampled_from(["answer", "fail", "other", "cancel"]))
    def end_the_probe(self, end: str) -> None:
        for breaker, model in self.pairs:
            if breaker.prober is not self:
                continue
            if end == "answer":
                breaker.succeed(self.now, self.now, probe=True)
                model.answer(self.now, probe=True)
            elif end == "cancel":
                breaker.release(self.now)
                model.free(self.now)
            else:
                kind = breaker.ailment if end == "fail" else Ailment.SLOW
                breaker.fail_probe(self.finding(kind), self.now, self.random.random())
                model.eject(self.now)

    @invariant()
    def they_agree(self) -> None:
        for breaker, model in self.pairs:
            assert breaker.state.value == model.state, breaker.ailment
            assert (breaker.prober is None) == (model.state != "probing")
            if model.state == "ejected":
                assert breaker.until == model.until
                assert breaker.ejections == len(model.ejections)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def made(name: str, key: str, provider: str) -> Deployment:
    return deployment(name, provider=provider, endpoint=Endpoint(api_key=Secret(key)))


DEPLOYMENTS = (made("a", "sk-one", "p"), made("b", "sk-one", "q"), made("c", "sk-two", "q"))
FAILURES = [
    Failure(error_class=ErrorClass.CONNECTION, scope=Scope.DEPLOYMENT),
    Failure(error_class=ErrorClass.SERVER, scope=Scope.DEPLOYMENT, status=500),
    Failure(error_class=ErrorClass.OVERLOADED, scope=Scope.PROVIDER, status=529),
    Failure(error_class=ErrorClass.TIMEOUT, scope=Scope.DEPLOYMENT),
    Failure(error_class=ErrorClass.EMPTY_RESPONSE, scope=Scope.DEPLOYMENT),
    Failure(error_class=ErrorClass.RATE_LIMIT, scope=Scope.MODEL, status=429),
    Failure(error_class=ErrorClass.RATE_LIMIT, scope=Scope.MODEL, status=429, retry_after=20.0),
    Failure(error_class=ErrorClass.QUOTA, scope=Scope.CREDENTIAL, status=429),
    Failure(error_class=ErrorClass.AUTHENTICATION, scope=Scope.CREDENTIAL, status=401),
    Failure(error_class=ErrorClass.MODEL_NOT_FOUND, scope=Scope.MODEL, status=404),
    Failure(error_class=ErrorClass.MODEL_NOT_FOUND, scope=Scope.MODEL, status=410, code="gone"),
    Failure(error_class=ErrorClass.INVALID_REQUEST, scope=Scope.REQUEST, status=400),
    Failure(error_class=ErrorClass.LOCAL, scope=Scope.LOCAL),
]
LONGEST = 3600.0
"""A retired model is asked for again after an hour; all else comes back sooner."""


class HealthMachine(RuleBasedStateMachine):
    """Calls on three deployments, two sharing a key and two a provider, that overlap in any way."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.health = Health()
        self.services = Services(
            clock=self.clock,
            random=random.Random(1),
            sleeper=VirtualSleeper(self.clock),
            state=MemoryState(clock=self.clock),
            ledger=MemoryLedger(),
        )
        self.under_way: list[tuple[Attempt, Call]] = []
        self.probes: dict[tuple[Any, ...], list[Attempt]] = {}
        self.calls = 0

    def rows(self) -> dict[tuple[Any, ...], Any]:
        found = self.health.report(self.clock.monotonic())
        return {(row.scope, row.name, row.ailment): row for row in found}

    def of(self, one: Deployment) -> dict[tuple[Any, ...], Any]:
        names = {
            (Scope.DEPLOYMENT, one.id),
            (Scope.CREDENTIAL, one.credential),
            (Scope.PROVIDER, one.provider),
        }
        return {key: row for key, row in self.rows().items() if key[:2] in names}

    def begin(self, one: Deployment | None = None) -> Attempt | None:
        """A call: selects as the engine does, and begins its first attempt."""
        self.calls += 1
        request, now = Request(model="fast"), self.clock.monotonic()
        record = DecisionRecord(call_id=str(self.calls), model="fast", at=0.0)
        record.selections.append(Selection(alias="fast", considered=()))
        call = Call(str(self.calls), request, NOBODY, now, None, record)
        drop = self.health.narrow_deployments(DEPLOYMENTS, call, self.services)
        left = [d for d in DEPLOYMENTS if drop is None or d.id not in drop.reasons]
        for d in left:
            rows = self.of(d).values()
            assert not any(r.ailment in HARD and r.state in ("ejected", "probing") for r in rows), d.id
        if one not in left:
            one = left[0] if left else None
        if one is None:
            return None
        before = self.of(one)
        attempt = Attempt(
            call_id=call.id, number=1, deployment=one, alias="fast", reason="first", started=now
        )
        answer = self.health.begin_attempt(attempt, call, self.services)
        if isinstance(answer, Skip):
            return None
        for key, row in before.items():
            assert not (row.ailment in HARD and row.state in ("ejected", "probing"))
            if row.state == "half_open":
                assert self.rows()[key].state == "probing"
                self.probes[key] = [*self.probes.get(key, []), attempt]
        self.under_way.append((attempt, call))
        return attempt

    def end(self, place: int, outcome: Outcome) -> None:
        attempt, call = self.under_way.pop(place % len(self.under_way))
        for key, attempts in self.probes.items():
            self.probes[key] = [one for one in attempts if one is not attempt]
        self.health.end_attempt(attempt, outcome, call, self.services)

    @rule(one=st.sampled_from([*DEPLOYMENTS]))
    def a_call_begins(self, one: Deployment) -> None:
        self.begin(one)

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 20), failure=st.sampled_from(FAILURES))
    def a_call_fails(self, place: int, failure: Failure) -> None:
        self.end(place, Outcome(status="error", error=RuntimeError("x"), failure=failure))

    @rule(one=st.sampled_from([*DEPLOYMENTS]), failure=st.sampled_from(FAILURES), times=st.integers(1, 6))
    def many_calls_fail(self, one: Deployment, failure: Failure, times: int) -> None:
        for _ in range(times):
            if self.begin(one) is not None:
                self.end(-1, Outcome(status="error", error=RuntimeError("x"), failure=failure))

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 20), status=st.sampled_from(["success", "cancelled", "abandoned", "skipped"]))
    def a_call_ends(self, place: int, status: Any) -> None:
        self.end(place, Outcome(status=status))

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 20))
    def a_call_is_never_heard_of_again(self, place: int) -> None:
        self.under_way.pop(place % len(self.under_way))

    @rule(seconds=st.one_of(st.floats(0.0, 30.0), st.sampled_from([61.0, 301.0, 3700.0])))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        now, rows = self.clock.monotonic(), self.rows()
        for key, attempts in self.probes.items():
            fresh = [one for one in attempts if now - one.started < 60.0]
            assert len(fresh) <= 1, key
            if key in rows and rows[key].state == "probing":
                assert fresh, key

    def teardown(self) -> None:
        """All heal, and somebody calls every second: then all is well within the bound."""
        began, bound = self.clock.monotonic(), LONGEST + 120.0
        while any(row.state not in ("closed",) for row in self.rows().values()):
            self.clock.advance(1.0)
            assert self.clock.monotonic() - began < bound, self.rows()
            for one in DEPLOYMENTS:
                if self.begin(one) is not None:
                    self.end(-1, Outcome(status="success"))
        assert self.begin(DEPLOYMENTS[0]) is not None


TestHealth = HealthMachine.TestCase
TestHealth.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
