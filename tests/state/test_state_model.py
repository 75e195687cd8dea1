"""Every state against a model that is too simple to be wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.server_clock import ServerClock
from support.servers import RedisServer
from support.state_conformance import ManualClock, settled

from llmgate_plugins.services import Grant, Lease, Refusal, Reservation, State
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.windows import Calendar, Rolling, Window, window_of

KEYS = ("a", "b", "soft")
WINDOWS: tuple[Window | float | None, ...] = (None, 10.0, Rolling(60), Calendar("hour", "Asia/Kathmandu"))
LIMIT = 20
Place = tuple[str, Window | float | None]
Part = tuple[str, Window | float | None, int, int]
names = itertools.count()


@dataclass
class _Lease:
    real: Lease
    began: float
    until: float
    parts: list[Part]
    spent: dict[str, int] = field(default_factory=dict)
    over: bool = False

    def counts(self, window: Window | float | None, now: float) -> bool:
        """Whether the window of now still has the moment of its reserve."""
        whole = window_of(window)
        if isinstance(whole, Rolling):
            return math.floor(self.began / whole.part) >= math.floor(now / whole.part) - 60
        return whole is None or whole.bounds(self.began) == whole.bounds(now)


class LimitsMachine(RuleBasedStateMachine):
    """Every lease ever given is kept, and all sums are made anew from them."""

    def __init__(self, open_state: Callable[[ManualClock], State], clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.state = open_state(clock)
        self.leases: list[_Lease] = []

    def teardown(self) -> None:
        self.state.close()

    def sums(self, key: str, window: Window | float | None) -> tuple[int, int]:
        now = self.clock.time()
        spent = held = 0
        for lease in self.leases:
            parts = [part for part in lease.parts if part[:2] == (key, window)]
            if not parts or not lease.counts(window, now):
                continue
            if lease.over:
                spent += lease.spent.get(key, 0) if window is not None else 0
            elif lease.until > now:
                held += sum(part[2] for part in parts)
            elif window is not None:
                spent += sum(part[3] for part in parts)
        return spent, held

    parts = st.lists(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(WINDOWS), st.integers(0, 8), st.integers(0, 8)).map(
            lambda part: (*part[:3], min(part[2:]))
        ),
        min_size=1,
        max_size=4,
    )

    @rule(parts=parts, ttl=st.integers(1, 40))
    def reserve(self, parts: list[Part], ttl: int) -> None:
        wanted = [
            Reservation(key=k, window=w, amount=a, limit=LIMIT, estimate=e, enforced=k != "soft")
            for k, w, a, e in parts
        ]
        expected: tuple[str, int] | None = None
        asked: dict[Place, int] = {}
        for key, window, amount, _ in parts:
            used = sum(self.sums(key, window))
            asked[key, window] = asked.get((key, window), 0) + amount
            if key != "soft" and used + asked[key, window] > LIMIT:
                expected = (key, LIMIT - used)
                break
        answer = settled(self.state.reserve(wanted, ttl=ttl))
        if isinstance(answer, Grant):
            assert expected is None
            now = self.clock.time()
            self.leases.append(_Lease(real=answer.lease, began=now, until=now + ttl, parts=parts))
            for level, (key, window, *_) in zip(answer.levels, parts, strict=True):
                assert (level.spent, level.held) == self.sums(key, window)
            over = [one.key for one in answer.exceeded]
            assert over == [
                key for key, window, *_ in parts if key == "soft" and sum(self.sums(key, window)) > LIMIT
            ]
        else:
            assert isinstance(answer, Refusal)
            assert (answer.key, answer.available) == expected

    @rule(which=st.integers(0, 50), share=st.floats(0, 1))
    def settle(self, which: int, share: float) -> None:
        if not self.leases:
            return
        lease = self.leases[which % len(self.leases)]
        late = lease.until <= self.clock.time()
        # One amount per key, within what every one of its windows holds, or was thought to cost.
        actual = {
            key: int(
                share
                * min(
                    sum(part[3 if late else 2] for part in lease.parts if part[:2] == (key, window))
                    for window in {window for name, window, *_ in lease.parts if name == key}
                )
            )
            for key in {name for name, *_ in lease.parts}
        }
        assert settled(self.state.settle(lease.real, actual)) is (not lease.over)
        if not lease.over:
            lease.over, lease.spent = True, actual

    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        if self.leases:
            lease = self.leases[which % len(self.leases)]
            assert settled(self.state.release(lease.real)) is (not lease.over)
            lease.over = True

    @rule(seconds=st.integers(1, 25))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def state_and_model_agree_and_no_enforced_limit_is_passed(self) -> None:
        for key in KEYS:
            for window in WINDOWS:
                spent, held = settled(self.state.spent(key, window=window))
                assert (spent, held) == self.sums(key, window)
                assert spent + held <= LIMIT or key == "soft"


def run(open_state: Callable[[ManualClock], State], clock: Callable[[], ManualClock], examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: LimitsMachine(open_state, clock()),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_memory_does_what_the_model_does() -> None:
    run(MemoryState, ManualClock, 100)


@pytest.mark.campaign
def test_memory_does_what_the_model_does_at_length() -> None:
    run(MemoryState, ManualClock, 5_000)


def on_a_server(server: RedisServer) -> Callable[[ManualClock], State]:
    def open_state(clock: ManualClock) -> State:
        url = f"{server.url}?namespace=model{next(names)}&timeout=10s"
        server.client.flushall()  # what earlier examples left would have to be aged, too
        return RedisState(url, clock=clock, server_time=clock.time)

    return open_state


def test_a_server_does_what_the_model_does(server: RedisServer) -> None:
    run(on_a_server(server), lambda: ServerClock(server), 25)


@pytest.mark.campaign
def test_a_server_does_what_the_model_does_at_length(server: RedisServer) -> None:
    run(on_a_server(server), lambda: ServerClock(server), 500)
