"""MemoryState against a model that is too simple to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support.state_conformance import ManualClock

from llmgate_plugins.services import Grant, Lease, Reservation
from llmgate_plugins.state import MemoryState

KEYS = ("a", "b")
WINDOWS = (None, 10.0, 60.0)
LIMIT = 20


@dataclass
class _Lease:
    real: Lease
    began: float
    until: float
    parts: list[tuple[str, float | None, int]]
    spent: dict[str, int] = field(default_factory=dict)
    over: bool = False


class LimitsMachine(RuleBasedStateMachine):
    """Every lease ever given is kept, and all sums are made anew from them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(start=0.0)
        self.state = MemoryState(self.clock)
        self.leases: list[_Lease] = []

    def sums(self, key: str, window: float | None) -> tuple[int, int]:
        now = self.clock.time()
        spent = held = 0
        for lease in self.leases:
            if window is not None and lease.began // window != now // window:
                continue
            names = {(name, size) for name, size, _ in lease.parts}
            if (key, window) not in names:
                continue
            if window is not None:
                spent += lease.spent.get(key, 0)
            if not lease.over and lease.until > now:
                held += sum(amount for name, size, amount in lease.parts if (name, size) == (key, window))
        return spent, held

    parts = st.lists(
        st.tuples(st.sampled_from(KEYS), st.sampled_from(WINDOWS), st.integers(0, 8)), min_size=1, max_size=4
    )

    @rule(parts=parts, ttl=st.integers(1, 40))
    def reserve(self, parts: list[tuple[str, float | None, int]], ttl: int) -> None:
        wanted = [Reservation(key=k, window=w, amount=a, limit=LIMIT) for k, w, a in parts]
        expected: tuple[str, int] | None = None
        asked: dict[tuple[str, float | None], int] = {}
        for key, window, amount in parts:
            used = sum(self.sums(key, window))
            asked[key, window] = asked.get((key, window), 0) + amount
            if used + asked[key, window] > LIMIT:
                expected = (key, LIMIT - used)
                break
        answer = self.state.reserve(wanted, ttl=ttl)
        if isinstance(answer, Grant):
            assert expected is None
            now = self.clock.time()
            self.leases.append(_Lease(real=answer.lease, began=now, until=now + ttl, parts=parts))
        else:
            assert (answer.key, answer.available) == expected

    @rule(which=st.integers(0, 50), share=st.floats(0, 1))
    def settle(self, which: int, share: float) -> None:
        if not self.leases:
            return
        lease = self.leases[which % len(self.leases)]
        now = self.clock.time()
        late = lease.until <= now
        # One amount per key, within what every one of its windows holds; late money has no hold.
        actual = {
            key: 0
            if late
            else int(
                share * min(sum(a for k, w, a in lease.parts if (k, w) == (key, size)) for size in sizes)
            )
            for key in {name for name, _, _ in lease.parts}
            if (sizes := {w for k, w, _ in lease.parts if k == key})
        }
        assert self.state.settle(lease.real, actual) is (not lease.over)
        if not lease.over:
            lease.over, lease.spent = True, actual

    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        if self.leases:
            lease = self.leases[which % len(self.leases)]
            assert self.state.release(lease.real) is (not lease.over)
            lease.over = True

    @rule(seconds=st.integers(1, 25))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def state_and_model_agree_and_no_limit_is_passed(self) -> None:
        for key in KEYS:
            for window in WINDOWS:
                spent, held = self.state.spent(key, window=window)
                assert (spent, held) == self.sums(key, window)
                assert spent + held <= LIMIT


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
