"""Books whose rows are safe in the outbox first: nobody waits for the database, and nothing is lost."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.books import answer, impatient, intent, record, settlement
from support.patience import PATIENCE, until

from llmgate_plugins import DecisionRecord
from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.facts import intent_facts
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.segments import SIZE, Extent
from llmgate_plugins.ledger.tables import Tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[SqlLedger]:
    ledger = impatient(f"sqlite:///{file}")
    yield ledger
    ledger.close()


def a_call(ledger: SqlLedger, name: str = "c1") -> None:
    ledger.open_attempt(intent(name)).result(timeout=0)
    assert ledger.settle_attempt(name, 1, settlement()).result(timeout=0) is True
    ledger.close_call(record(name)).result(timeout=0)


def segments(file: Path) -> list[Path]:
    return list(Path(f"{file}.outbox").glob("*.outbox"))


def killed_at_this_moment(ledger: SqlLedger, file: Path, folder: Path) -> SqlLedger:
    """The ledger as the next process finds it if this one dies now, in a copy of its files."""
    shutil.copytree(Path(f"{file}.outbox"), folder / "copy.db.outbox")
    source, copy = sqlite3.connect(file), sqlite3.connect(folder / "copy.db")
    with source, copy:
        source.backup(copy)
    source.close()
    copy.close()
    return SqlLedger(f"sqlite:///{folder}/copy.db")


def test_a_row_is_on_disk_when_its_answer_is_there_and_nobody_waits_for_the_database(
    ledger: SqlLedger, file: Path, tmp_path: Path
) -> None:
    with ledger._writer.gate:  # nothing gets into the database meanwhile
        a_call(ledger)
        after = killed_at_this_moment(ledger, file, tmp_path)
    for books in (after, ledger):
        assert [(row["status"], row["cost_nano_usd"]) for row in books.attempts()] == [("success", 50)]
        assert [(row["status"], row["cost_nano_usd"]) for row in books.calls()] == [("success", 50)]
    after.close()


def test_of_a_call_in_whose_last_moment_the_process_died_all_is_known_but_why(
    ledger: SqlLedger, file: Path, tmp_path: Path
) -> None:
    with ledger._writer.gate:
        a_call(ledger)
        after = killed_at_this_moment(ledger, file, tmp_path)
    whole, brief = ledger.calls()[0], after.calls()[0]
    assert {name for name in whole if whole[name] != brief[name]} == {"decision"}
    assert brief["decision"] == {}
    assert DecisionRecord.from_row(brief).status == "success"
    assert DecisionRecord.from_row(whole).attempts[0][0].deployment.id == "openai-eu"
    after.close()


def test_a_call_whose_decision_cannot_be_told_is_booked_without_it(
    ledger: SqlLedger, caplog: pytest.LogCaptureFixture
) -> None:
    closed = record()
    closed.selections.append(None)  # type: ignore[arg-type]
    ledger.close_call(closed).result(timeout=0)
    assert [(row["status"], row["cost_nano_usd"], row["decision"]) for row in ledger.calls()] == [
        ("success", 50, {})
    ]
    assert "a row of the ledger says less than it might" in caplog.text


def test_while_the_database_is_away_the_outbox_has_the_whole_of_every_call(
    ledger: SqlLedger, file: Path, tmp_path: Path
) -> None:
    lock = sqlite3.connect(file, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    a_call(ledger, "as it went away")
    until(lambda: ledger.away)
    a_call(ledger, "later")
    shutil.copytree(Path(f"{file}.outbox"), tmp_path / "next")
    lock.close()
    after = SqlLedger(f"sqlite:///{tmp_path}/next.db?outbox={tmp_path}/next")
    assert [row["decision"]["attempts"][0]["deployment"] for row in after.calls()] == ["openai-eu"] * 2
    after.close()


def test_after_a_row_that_was_refused_whoever_hands_over_the_next_is_told(
    ledger: SqlLedger, file: Path
) -> None:
    a_call(ledger)
    ledger.flush()
    other = sqlite3.connect(file)
    other.execute("ALTER TABLE attempts RENAME TO gone")
    other.commit()
    ledger.open_attempt(intent("first")).result(timeout=0)
    until(lambda: ledger._writer.drain.refuses)
    with pytest.raises(StorageError, match=r"open attempt 1 of call second: .*no such table"):
        answer(ledger.open_attempt(intent("second")))
    other.execute("ALTER TABLE gone RENAME TO attempts")
    other.commit()
    other.close()
    answer(ledger.open_attempt(intent("third")))
    ledger.open_attempt(intent("fourth")).result(timeout=0)
    assert {row["call_id"] for row in ledger.attempts()} == {"c1", "third", "fourth"}
    assert b"first" in (Path(f"{file}.outbox") / "rejected").read_bytes()


def test_where_the_outbox_has_no_room_the_database_is_waited_for(ledger: SqlLedger, file: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with mock.patch("llmgate_plugins.ledger.segments._make_room", side_effect=full):
        answer(ledger.open_attempt(intent()))
        assert segments(file) == []
        other = sqlite3.connect(file)
        assert other.execute("SELECT call_id, status FROM attempts").fetchall() == [("c1", "intent")]
        other.close()
    ledger.settle_attempt("c1", 1, settlement()).result(timeout=0)
    assert ledger.attempts()[0]["status"] == "success"


def test_files_do_not_grow_however_much_is_written(ledger: SqlLedger, file: Path) -> None:
    longest = "x" * (SIZE // 8)
    for number in range(40):
        ledger.open_attempt(intent(f"c{number}", labels={"tenant": longest})).result(timeout=0)
    ledger.open_attempt(intent("huge", labels={"tenant": longest * 20})).result(timeout=0)
    assert len(ledger.attempts()) == 41
    left = segments(file)
    assert len(left) == 1, "what is in the database is given up"
    extent = Extent.of(left[0])
    assert extent is not None
    assert not extent.waiting
    ledger.close()
    assert segments(file) == []


def test_a_reader_waits_for_what_was_written_before_and_not_for_what_goes_on_being_written(
    ledger: SqlLedger,
) -> None:
    outbox, read = ledger._writer.outbox, 0
    ledger.open_attempt(intent("early"))
    with mock.patch.object(Outbox, "waiting", property(lambda _: True)):  # as if others never stopped
        ledger._writer.drain.look_around = False
        ledger.flush()
        read = outbox.given
    assert read == outbox.taken == 1


def test_a_reader_waits_for_much_that_others_have_left_as_long_as_it_gets_less(file: Path) -> None:
    for number in range(4):
        outbox = Outbox(Path(f"{file}.outbox"), sync=False)
        outbox.put_brief(intent_facts(intent(f"c{number}")))
        outbox.close()
    ledger, write = impatient(f"sqlite:///{file}"), Tables.write

    def slowly(tables: Tables, steps: Sequence[Step]) -> list[Any]:
        time.sleep(0.3)
        return write(tables, steps)

    with (
        mock.patch("llmgate_plugins.ledger.watching.FLUSH", 1.0),
        mock.patch("llmgate_plugins.ledger.watching.Watch.is_hopeless", False),
    ):
        ledger._writer.drain._write = partial(slowly, ledger._tables)
        assert len(ledger.attempts()) == 4
    ledger.close()


def test_whoever_recovers_waits_for_what_others_have_handed_over(ledger: SqlLedger, file: Path) -> None:
    other = SqlLedger(f"sqlite:///{file}")
    counted: list[int] = []
    recovering = threading.Thread(target=lambda: counted.append(other.recover_expired(now=10.0)))
    with ledger._writer.gate:  # it is at something else, for longer than a reader would wait
        ledger.open_attempt(intent(expires=5.0)).result(timeout=0)
        recovering.start()
        recovering.join(0.4)
    recovering.join(PATIENCE)
    assert counted == [1]
    other.close()
