"""What the ledger does by itself: intents whose time is over, rows that were kept long enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.books import answer, intent, record, settlement
from support.patience import until

from llmgate_plugins.context import Context
from llmgate_plugins.ledger import Retention, SqlLedger, labels_of
from llmgate_plugins.services import Feedback
from llmgate_plugins.testing import VirtualClock

DAY = 86_400.0


class Wall(VirtualClock):
    """A clock whose Unix time tests set."""

    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return f"{request.getfixturevalue('postgres_url')}?outbox={tmp_path}/outbox"


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger(
        url,
        retention=Retention(default=90 * DAY, tenants={"acme": 30 * DAY, "o'brien\" --": DAY}),
        content_retention=Retention(default=DAY),
    )
    yield ledger
    ledger.close()


def a_call(ledger: SqlLedger, name: str, at: float, tenant: str | None = None) -> None:
    who = Context(tenant=tenant)
    for number in (1, 2):
        answer(ledger.open_attempt(intent(name, number, at=at + number, labels=labels_of(who))))
        answer(ledger.settle_attempt(name, number, settlement()))
    answer(ledger.close_call(record(name, costs=(50, 50), context=who, at=at)))


def swept(ledger: SqlLedger, clock: Wall, now: float) -> None:
    """Let the sweeper see this time, as the writer's thread would."""
    clock.now = now
    ledger.attend(clock)
    answer(ledger.open_attempt(intent("wakes the thread", at=now)))
    until(lambda: (ledger._writer._tend_at or 0) > time.monotonic() + 0.5)  # nothing is due for a while


def test_only_intents_whose_time_is_over_are_given_up(ledger: SqlLedger) -> None:
    clock = Wall(10_000.0)
    answer(ledger.open_attempt(intent("long", at=1.0, expires=10_001.0)))
    answer(ledger.open_attempt(intent("over", at=9_990.0, expires=9_999.0)))
    answer(ledger.open_attempt(intent("young", at=10_000.0 - 3_599)))
    answer(ledger.open_attempt(intent("old", at=10_000.0 - 3_601)))
    swept(ledger, clock, 10_000.0)
    found = {row["call_id"]: row["status"] for row in ledger.attempts()}
    assert found["long"] == found["young"] == "intent"
    assert found["over"] == found["old"] == "unknown"
    # It was under way all the same: what it really was is booked, once.
    assert answer(ledger.settle_attempt("over", 1, settlement(cost=3))) is True
    answer(ledger.settle_attempt("over", 1, settlement(cost=4)))
    row = ledger.attempts("over")[0]
    assert (row["status"], row["cost_nano_usd"], row["late"]) == ("success", 3, True)


def test_rows_are_kept_as_long_as_their_tenant_wants_and_go_as_whole_calls(ledger: SqlLedger) -> None:
    now = 200 * DAY
    for days in (20, 29.9, 31, 89, 91):
        for tenant in ("acme", "o'brien\" --", None, "other"):
            a_call(ledger, f"{tenant}-{days}", now - days * DAY, tenant)
    a_call(ledger, "at the edge", now - 90 * DAY - 1.5)  # its second attempt is a little younger
    answer(ledger.open_attempt(intent("never ended", at=now - 95 * DAY)))
    answer(ledger.settle_attempt("never ended", 1, settlement()))
    swept(ledger, Wall(now), now)
    left = {row["call_id"] for row in ledger.calls()}
    assert left == {
        "acme-20",
        "acme-29.9",
        *(f"{who}-{days}" for who in (None, "other") for days in (20, 29.9, 31, 89)),
    }
    assert {row["call_id"] for row in ledger.attempts()} == left | {"wakes the thread"}
    assert len(ledger.attempts()) == 2 * len(left) + 1


def test_contents_have_a_retention_of_their_own(ledger: SqlLedger) -> None:
    now = 200 * DAY
    for name, at in (("old", now - 2 * DAY), ("new", now - 10)):
        a_call(ledger, name, at)
        content = {"call_id": name, "at": at, "tenant": None, "messages": [], "answer": None}
        answer(ledger.keep_content(content))
    swept(ledger, Wall(now), now)
    assert [row["call_id"] for row in ledger.contents()] == ["new"]
    assert len(ledger.calls()) == 2


def test_feedback_and_arms_go_with_their_call_and_without_one_by_their_own_age(ledger: SqlLedger) -> None:
    now = 200 * DAY
    for name, at in (("old", now - 100 * DAY), ("new", now - 10)):
        ledger.close_call(record(name, at=at, experiments={"tone": "a"}))
        for call_id in (name, f"never seen, {name}"):
            ledger.add_feedback(Feedback(id=call_id, call_id=call_id, at=max(at, now - 95 * DAY), score=1.0))
    ledger.purge(now=now)
    assert [row["call_id"] for row in ledger.assignments()] == ["new"]
    assert sorted(row["call_id"] for row in ledger.feedback()) == ["never seen, new", "new"]


def test_many_rows_are_removed_in_small_pieces_between_which_others_write(ledger: SqlLedger) -> None:
    now = 200 * DAY
    for number in range(1_200):
        ledger.close_call(record(f"c{number}", costs=(), at=1.0))
    assert ledger.purge(now=now) == 1_200
    assert ledger.purge(now=now) == 0
    assert ledger.calls() == []


def test_without_a_retention_nothing_is_ever_removed(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/books.db")
    a_call(ledger, "c1", 1.0)
    assert ledger.purge(now=1e12) == 0
    assert len(ledger.attempts()) == 2
    ledger.close()
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Retention(default=0)


def test_many_processes_that_recover_and_purge_at_once_do_each_thing_once(
    ledger: SqlLedger, url: str
) -> None:
    for number in range(50):
        answer(ledger.open_attempt(intent(f"c{number}", expires=5.0)))
    others = [SqlLedger(url) for _ in range(3)]
    assert sum(other.recover_expired(now=10.0) for other in others) == 50
    for other in others:
        other.close()
