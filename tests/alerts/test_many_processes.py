"""Of many processes that report an alert one tells; that what they share is away is told, and its end."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.channels import Listener
from support.faces import ask, every_face
from support.gateways import deployment
from support.servers import RedisServer

from llmgate_plugins import Alert, Alerting, AlertUndelivered, Context, Gateway, StorageError
from llmgate_plugins.alerts import Severity
from llmgate_plugins.ledger import MemoryLedger, SqlLedger
from llmgate_plugins.plugins import FailureAlarms, LogChannel
from llmgate_plugins.plugins.limits import Budget, Limits
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.redis import RedisState
from llmgate_plugins.testing import ScriptedProvider, VirtualClock
from llmgate_plugins.windows import Calendar

HOUR = 3_600.0


class Shared(MemoryState):
    """As several processes have it, and away when told."""

    shared = True
    away = False

    def add(self, *given: Any, **named: Any) -> int:
        if self.away:
            raise StorageError("the state is down")
        return super().add(*given, **named)


def alert(severity: Severity = "warning") -> Alert:
    return Alert(kind="ejected", subject="east", summary="It fails.", severity=severity)


def over() -> Alert:
    return Alert(kind="ejected", subject="east", summary="It works again.", resolved=True)


class Fleet:
    """Gateways of one configuration, each with a state of its own making."""

    def __init__(self, *states: Any, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.listener = Listener()
        self.gateways = [
            Gateway(
                plugins=[self.listener],
                defaults=False,
                clock=self.clock,
                alerts=Alerting(repeat=HOUR),
                state=state,
            )
            for state in states
        ]

    def report(self, one: Alert) -> list[str]:
        """All of them report it; what was told by then."""
        for gateway in self.gateways:
            gateway.services.alerts.report(one)
            assert gateway.alerts.flush(10)
        return self.listener.words


def test_of_many_processes_one_tells_the_beginning_and_one_the_end() -> None:
    clock = VirtualClock()
    state = Shared(clock)
    fleet = Fleet(*[state] * 4, clock=clock)
    assert fleet.report(alert()) == ["east warning"]
    assert fleet.report(alert("critical"))[1:] == ["east critical"]
    assert fleet.report(over())[2:] == ["east over"]
    assert fleet.report(alert())[3:] == ["east warning"], "one that comes back is told again"


def test_what_goes_on_is_told_again_by_one() -> None:
    clock = VirtualClock()
    fleet = Fleet(*[Shared(clock)] * 3, clock=clock)
    fleet.report(alert())
    clock.advance(HOUR + 1)
    assert fleet.report(alert()) == ["east warning"] * 2


class Started:
    """A program that keeps its books in a database, begun anew for each job."""

    def __init__(self, url: str) -> None:
        self.url, self.clock, self.listener = url, VirtualClock(), Listener()

    def run(self, *alerts: Alert, listener: Listener | None = None) -> list[str]:
        """One job that reports these; what its channel has been told by then, by all jobs."""
        books, channel = SqlLedger(self.url), listener or self.listener
        gateway = Gateway(
            plugins=[channel], defaults=False, clock=self.clock, alerts=Alerting(repeat=HOUR), ledger=books
        )
        for one in alerts:
            gateway.services.alerts.report(one)
        gateway.close()
        books.close()
        return channel.words


@pytest.fixture(params=["sqlite", "postgres"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Started:
    if request.param == "postgres":
        return Started(request.getfixturevalue("postgres_url"))
    return Started(f"sqlite:///{tmp_path / 'books.db'}")


def test_a_program_that_is_begun_anew_does_not_tell_again_what_goes_on(program: Started) -> None:
    assert program.run(alert()) == ["east warning"]
    assert program.run(alert()) == ["east warning"]
    assert program.run(alert("critical"))[1:] == ["east critical"]
    program.clock.advance(HOUR + 1)
    assert program.run(alert())[2:] == ["east warning"], "it still goes on"
    assert program.run(alert(), over())[3:] == ["east over"]
    assert program.run(alert())[4:] == ["east warning"], "it has come back"


def test_what_ends_by_itself_is_told_once_until_then_and_anew_after_it(program: Started) -> None:
    midnight = program.clock.time() + 24 * HOUR
    today, tomorrow = replace(alert(), until=midnight), replace(alert(), until=midnight + 24 * HOUR)
    for _ in range(23):
        assert program.run(today) == ["east warning"]
        program.clock.advance(HOUR)
    assert program.run(tomorrow) == ["east warning"] * 2


def test_what_never_arrived_is_told_by_the_next_job_also_until_the_end_of_a_window(program: Started) -> None:
    today = replace(alert(), until=program.clock.time() + 24 * HOUR)
    program.listener.error = AlertUndelivered("nobody answers", passing=True)
    tries = len(program.run(today))
    program.listener.error = None
    program.clock.advance(300)
    assert program.run(today)[tries:] == ["east warning"]
    program.clock.advance(300)
    assert program.run(today)[tries:] == ["east warning"]


def test_what_waits_for_its_channel_is_not_told_again_once_another_has_told_it(program: Started) -> None:
    books, away = SqlLedger(program.url), Listener(error=AlertUndelivered("nobody answers", passing=True))
    gateway = Gateway(plugins=[away], defaults=False, clock=program.clock, ledger=books)
    gateway.services.alerts.report(alert())
    assert not gateway.alerts.flush(10)
    program.clock.advance(300)
    assert program.run(alert()) == ["east warning"]
    away.error, tries = None, len(away.alerts)
    assert gateway.alerts.flush(10)
    assert len(away.alerts) == tries
    gateway.close()


def test_channels_that_lead_elsewhere_are_each_told(program: Started) -> None:
    for place in ("here", "there"):
        listener = Listener()
        listener.destination = place  # type: ignore[attr-defined]  # as channels that have an address
        assert program.run(alert(), listener=listener) == ["east warning"]


def test_processes_at_work_with_the_same_books_tell_once(program: Started) -> None:
    books = [SqlLedger(program.url) for _ in range(3)]
    listener = Listener()
    gateways = [Gateway(plugins=[listener], defaults=False, ledger=one) for one in books]
    for gateway in gateways:
        gateway.services.alerts.report(alert())
    assert all(gateway.alerts.flush(10) for gateway in gateways)
    assert listener.words == ["east warning"]
    for one in books:
        one.close()


def test_books_that_are_away_keep_nothing_from_being_told(tmp_path: Path) -> None:
    program = Started(f"sqlite:///{tmp_path / 'books.db'}")
    program.run(alert())
    with closing(sqlite3.connect(tmp_path / "books.db", isolation_level=None)) as other:
        other.execute("DROP TABLE llmgate_counters")
        other.execute("CREATE VIEW llmgate_counters AS SELECT 1")
    assert program.run(alert()) == ["east warning"] * 2


def test_a_budget_that_is_passed_is_told_by_the_first_of_many_jobs(tmp_path: Path) -> None:
    clock, listener = VirtualClock(), Listener()
    for _ in range(5):
        books = SqlLedger(f"sqlite:///{tmp_path / 'books.db'}")
        limits = Limits([Budget("team", 100, Calendar("month"), hard=False, alert_at=(0.5, 0.8, 1.0))])
        gateway = Gateway(
            [deployment("a")],
            plugins=[limits, listener],
            transport=ScriptedProvider(default="word " * 200),
            clock=clock,
            ledger=books,
        )
        gateway.complete("fast", "Say hello.", context=Context(team="search"))
        gateway.close()
        books.close()
        clock.advance(5 * HOUR)
    assert [one.kind for one in listener.alerts] == ["budget_threshold"]
    assert listener.alerts[0].severity == "critical"


def test_what_began_unheard_is_told_when_it_begins_again() -> None:
    clock = VirtualClock()
    fleet = Fleet(*[Shared(clock)] * 2, clock=clock)
    fleet.listener.error = RuntimeError("a mistake")
    fleet.report(alert())
    fleet.listener.error = None
    fleet.report(over())
    assert fleet.report(alert())[-1:] == ["east warning"]


def test_each_tells_where_nothing_is_shared_and_where_the_state_is_down() -> None:
    clock = VirtualClock()
    assert Fleet(MemoryState(clock), MemoryState(clock)).report(alert()) == ["east warning"] * 2
    state = Shared(clock)
    state.away = True
    fleet = Fleet(state, state)
    assert fleet.report(alert()) == ["east warning"] * 2
    state.away = False
    assert fleet.report(over())[2:] == ["east over"] * 2


def test_each_process_has_a_log_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    state = Shared()
    for _ in range(2):
        gateway = Gateway(plugins=[LogChannel()], defaults=False, state=state)
        gateway.services.alerts.report(alert())
        assert gateway.alerts.flush(10)
    assert [record.name for record in caplog.records] == ["llmgate.alerts"] * 2


def test_processes_that_share_a_redis_tell_once_and_each_when_it_is_gone(fresh_redis: RedisServer) -> None:
    states = [RedisState(f"{fresh_redis.url}?timeout=150ms") for _ in range(3)]
    fleet = Fleet(*states)
    assert fleet.report(alert()) == ["east warning"]
    assert fleet.report(over())[1:] == ["east over"]
    fresh_redis.kill()
    assert fleet.report(alert())[2:] == ["east warning"] * 3
    for state in states:
        state.close()


class AwayLedger(MemoryLedger):
    away = False


@every_face
@pytest.mark.parametrize("what", ["ledger", "state"])
def test_what_is_away_is_told_once_and_that_it_is_back(what: str, face: str) -> None:
    state, ledger, listener = Shared(), AwayLedger(), Listener()
    gateway = Gateway(
        [deployment("a")],
        transport=ScriptedProvider(default="fine"),
        plugins=[FailureAlarms(), listener],
        defaults=False,
        state=state,
        ledger=ledger,
    )
    store: Any = {"state": state, "ledger": ledger}[what]
    for away in (False, True, True, False, False):
        store.away = away
        assert ask(face, gateway).text == "fine"
        assert gateway.alerts.flush(10)
    assert listener.words == [f"{what} warning", f"{what} over"]
    assert [one.kind for one in listener.alerts] == [f"{what}_away"] * 2


def test_a_database_that_takes_no_rows_is_told_and_that_it_does_again(tmp_path: Path) -> None:
    file, listener = tmp_path / "books.db", Listener()
    ledger = SqlLedger(f"sqlite:///{file}")
    gateway = Gateway(
        [deployment("a")], transport=ScriptedProvider(default="fine"), plugins=[listener], ledger=ledger
    )
    gateway.complete("fast", "hello")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    until = time.monotonic() + 30
    gateway.complete("fast", "hello")
    while not ledger.away:
        assert time.monotonic() < until, "the rows are in a database that is locked"
        time.sleep(0.05)
    gateway.complete("fast", "hello")
    other.execute("ROLLBACK")
    other.close()
    while ledger.away:
        assert time.monotonic() < until, "rows still wait"
        time.sleep(0.05)
    gateway.complete("fast", "hello")
    assert gateway.alerts.flush(10)
    assert listener.words == ["ledger warning", "ledger over"]
    assert len(ledger.calls()) == 4
    ledger.close()
