"""A process held up between a grant and its intent, while the state is emptied, passes no hard limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.faces import ask, every_face
from support.gateways import deployment
from support.servers import RedisServer
from support.spending import KEY, MOST_OUTPUT, QUESTION, WINDOW, WORST, budget
from support.state_conformance import settled

from llmgate_plugins import Gateway, Message, Request, RequestDenied, Usage
from llmgate_plugins.ledger import MemoryLedger, SqlLedger
from llmgate_plugins.plugins.holds import BOOKED_WITHIN, SETTLED
from llmgate_plugins.services import AttemptIntent
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.testing import ScriptedProvider, VirtualClock, VirtualSleeper

ASKED = Request(
    model="fast", messages=(Message(role="user", content=QUESTION),), params={"max_tokens": MOST_OUTPUT}
)
DEAREST = Usage(input=WORST - 2 * MOST_OUTPUT, output=MOST_OUTPUT)
"""An answer that costs all that is held for it."""


class Shared:
    """A state as others have it, too: one that can be emptied, and counts what it is asked."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.asked = 0
        self.flush()

    def flush(self) -> None:
        self._there = MemoryState(self._clock)

    def reserve(self, *given: Any, **named: Any) -> Any:
        self.asked += 1
        return self._there.reserve(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._there, name)


class Fleet:
    """Two gateways on a clock that stands still: `late` is held up before its intent is written."""

    def __init__(self, clock: VirtualClock, state: Any, ledger: Any, cap: int) -> None:
        self.clock, self.state, self.ledger = clock, state, ledger
        self.provider = ScriptedProvider(usage=DEAREST)
        self.late = self._gateway(HeldUp(ledger, self), cap)
        self.other = self._gateway(ledger, cap)
        self.meanwhile: Callable[[], None] = lambda: None

    def _gateway(self, ledger: Any, cap: int) -> Gateway:
        return Gateway(
            [deployment("a")],
            transport=self.provider,
            plugins=[budget(cap)],
            clock=self.clock,
            sleeper=VirtualSleeper(self.clock),
            state=self.state,
            ledger=ledger,
        )

    def others_spend(self, calls: int) -> None:
        for _ in range(calls):
            assert ask("sync", self.other, ASKED).error is None

    @property
    def sent(self) -> int:
        return len(self.provider.sent)

    def check_at_rest(self, spent: int) -> None:
        rows = self.ledger.attempts()
        assert sum(row["cost_nano_usd"] for row in rows) == spent
        assert {row["status"] for row in rows} <= {"success", "skipped"}
        assert settled(self.state.spent(KEY, window=WINDOW)) == (spent, 0)


class HeldUp:
    """The same books, but whoever writes to them is held up first."""

    durable = True

    def __init__(self, ledger: Any, fleet: Fleet) -> None:
        self._ledger, self._fleet = ledger, fleet

    def open_attempt(self, intent: AttemptIntent) -> Any:
        meanwhile, self._fleet.meanwhile = self._fleet.meanwhile, lambda: None
        meanwhile()
        return self._ledger.open_attempt(intent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class Durable(MemoryLedger):
    durable = True


def in_memory(_redis: Callable[[], RedisServer], _directory: Path) -> tuple[VirtualClock, Any, Any]:
    clock = VirtualClock()
    return clock, Shared(clock), Durable()


def real(redis: Callable[[], RedisServer], directory: Path) -> tuple[VirtualClock, Any, Any]:
    clock, server = VirtualClock(), redis()
    state: Any = RedisState(f"{server.url}?timeout=2s", server_time=clock.time)
    state.flush = server.flush
    return clock, state, SqlLedger(f"sqlite:///{directory}/books.db")


@pytest.fixture(params=[in_memory, real])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    clock, state, ledger = request.param(lambda: request.getfixturevalue("redis_server"), tmp_path)
    yield Fleet(clock, state, ledger, 2 * WORST)
    state.close()
    ledger.close()


@every_face
def test_what_others_spent_meanwhile_is_not_spent_again(face: str, fleet: Fleet) -> None:
    def held_up() -> None:
        fleet.state.flush()
        fleet.others_spend(2)  # the first of them waits until the books can be believed

    fleet.meanwhile = held_up
    told = ask(face, fleet.late, ASKED)
    assert isinstance(told.error, RequestDenied)
    assert told.error.code == "budget"
    assert fleet.sent == 2
    fleet.check_at_rest(2 * WORST)


@every_face
def test_what_nobody_took_meanwhile_is_held_anew_and_sent(face: str, fleet: Fleet) -> None:
    def held_up() -> None:
        fleet.state.flush()
        fleet.others_spend(1)

    fleet.meanwhile = held_up
    told = ask(face, fleet.late, ASKED)
    assert told.error is None
    assert fleet.sent == 2
    fleet.check_at_rest(2 * WORST)
    assert isinstance(ask(face, fleet.other, ASKED).error, RequestDenied)


@every_face
def test_a_state_that_asks_for_the_books_gets_them_with_the_late_intent_in_them(
    face: str, fleet: Fleet
) -> None:
    def held_up() -> None:
        fleet.clock.advance(SETTLED + 1)
        fleet.state.flush()

    fleet.meanwhile = held_up
    begun = fleet.clock.monotonic()
    assert ask(face, fleet.late, ASKED).error is None
    assert fleet.clock.monotonic() - begun >= 2 * SETTLED, "the books are believed as late as ever"
    fleet.check_at_rest(WORST)


@every_face
def test_a_hold_that_stands_is_confirmed_and_not_held_twice(face: str, fleet: Fleet) -> None:
    fleet.meanwhile = lambda: fleet.clock.advance(2 * BOOKED_WITHIN)
    assert ask(face, fleet.late, ASKED).error is None
    fleet.check_at_rest(WORST)


def test_only_an_intent_that_took_long_is_confirmed(tmp_path: Path) -> None:
    clock = VirtualClock()
    state = Shared(clock)
    fleet = Fleet(clock, state, Durable(), 9 * WORST)
    fleet.others_spend(1)
    for seconds, asked in ((BOOKED_WITHIN, 1), (BOOKED_WITHIN * 1.01, 2)):
        before = state.asked
        fleet.meanwhile = lambda seconds=seconds: clock.advance(seconds)
        assert ask("sync", fleet.late, ASKED).error is None
        assert state.asked - before == asked


@every_face
def test_a_call_whose_time_is_over_before_it_is_confirmed_leaves_no_open_row(face: str, fleet: Fleet) -> None:
    def held_up() -> None:
        fleet.clock.advance(SETTLED + 1)
        fleet.state.flush()

    fleet.meanwhile = held_up
    told = ask(face, fleet.late, ASKED.replace(timeout=SETTLED + 1.5))
    assert told.error is not None
    assert fleet.sent == 0
    (row,) = fleet.ledger.attempts()
    assert (row["status"], row["cost_nano_usd"]) == ("skipped", 0)
