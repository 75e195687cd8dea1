"""Before a state is told of the books, they have what any process of this machine had in its outbox."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from support.books import intent
from support.patience import until

from llmgate_plugins import StorageError
from llmgate_plugins.ledger import SqlLedger, reading


def test_the_intents_of_another_process_are_waited_for_and_then_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "books.db"
    mine, other = (SqlLedger(f"sqlite:///{file}") for _ in range(2))
    mine.gather().result(30)
    lock = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
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
    other.close()
    mine.close()
    lock.close()
