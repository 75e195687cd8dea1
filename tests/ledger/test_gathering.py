"""Before a state is told of the books, they have what any process of this machine had in its outbox."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from support.books import intent, record
from support.patience import until

from llmgate_plugins import StorageError
from llmgate_plugins.ledger import SqlLedger, reading
from llmgate_plugins.ledger.facts import call_facts
from llmgate_plugins.ledger.flushing import LOOK
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.segments import Extent


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[SqlLedger, SqlLedger, sqlite3.Connection]]:
    """The books of two processes, in one file; and who keeps both from writing to it."""
    file = tmp_path / "books.db"
    mine, other = (SqlLedger(f"sqlite:///{file}") for _ in range(2))
    mine.gather().result(30)
    lock = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    yield mine, other, lock
    other.close()
    mine.close()
    lock.close()


def test_the_intents_of_another_process_are_waited_for_and_then_seen(
    two: tuple[SqlLedger, SqlLedger, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, lock = two
    other.open_attempt(intent("c1", reserve=90)).result(30)
    until(lambda: other.away)  # as long as its writer waits for the lock, it is only slow
    monkeypatch.setattr(reading, "GATHERING", 0.3)
    with pytest.raises(StorageError, match="rows wait"):
        mine.gather().result(30)
    monkeypatch.setattr(reading, "GATHERING", 30.0)
    gathering = mine.gather()
    threading.Timer(0.2, lock.execute, ("ROLLBACK",)).start()
    gathering.result(60)
    standing = mine.standing({}, since=0.0, until=1e12).result(30)
    assert [one.reserve for one in standing.open] == [90]


def test_rows_that_are_written_anew_while_the_database_is_away_are_waited_for_all_the_same(
    two: tuple[SqlLedger, SqlLedger, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GATHERING", 60.0)
    mine, other, lock = two
    with other._writer.gate:
        other.open_attempt(intent("c1", reserve=90)).result(30)
        other.close_call(record("c1")).result(30)  # its decision is in memory alone
        (brief,) = other._writer.outbox.waiting_of_all()
        gathering = mine.gather()
    until(lambda: not brief.exists())
    with pytest.raises(TimeoutError):
        gathering.result(50 * LOOK)
    lock.execute("ROLLBACK")
    gathering.result(60)
    assert [one.reserve for one in mine.standing({}, since=0.0, until=1e12).result(30).open] == [90]
    assert [row["decision"]["call_id"] for row in mine.calls()] == ["c1"]


def test_a_file_that_is_written_anew_between_two_looks_at_the_directory_is_not_overlooked(
    tmp_path: Path,
) -> None:
    outbox, last = Outbox(tmp_path, sync=False), record("last")
    outbox.put_brief(call_facts(last), last)
    extent_of = Extent.of

    def meanwhile(path: Path) -> Extent | None:
        outbox.make_whole()
        return extent_of(path)

    with mock.patch.object(Extent, "of", meanwhile):
        assert len(outbox.waiting_of_all()) == 1
    outbox.close()
