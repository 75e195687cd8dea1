"""Books whose database is away: what is handed over is safe on disk, and gets there once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import event
from support.books import answer, impatient, intent, record, settlement
from support.patience import until
from support.writers import processes

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.facts import call_facts
from llmgate_plugins.ledger.outbox import Outbox
from llmgate_plugins.ledger.pen import Pen
from llmgate_plugins.ledger.segments import SIZE, Extent

LONG = 9.0
"""Seconds that no answer may take, whatever the database does. The documentation says 2.5, of a machine
that has nothing else to do; whoever waits for the database waits for 10 or more."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[SqlLedger]:
    ledger = impatient(f"sqlite:///{file}")
    yield ledger
    ledger.close()


@pytest.fixture
def lock(ledger: SqlLedger, file: Path) -> Iterator[sqlite3.Connection]:
    """Another program's, from the start; close it to let go."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def a_call(ledger: SqlLedger, name: str, cost: int = 50) -> None:
    answer(ledger.open_attempt(intent(name)))
    assert answer(ledger.settle_attempt(name, 1, settlement(cost=cost))) is True
    answer(ledger.close_call(record(name, costs=(cost,))))


def kept(file: Path) -> list[Path]:
    """The files in which rows wait."""
    extents = {one: Extent.of(one) for one in Path(f"{file}.outbox").glob("*.outbox")}
    return [one for one, extent in extents.items() if extent is not None and extent.waiting]


def a_step(name: str, text: str = "") -> Step:
    return Step("content", {"call_id": name, "at": 1.0, "tenant": None, "messages": [text], "answer": None})


@contextmanager
def commits_that_wait_for(moment: threading.Event) -> Iterator[None]:
    commit = Pen.commit

    def wait_and_commit(pen: Pen) -> None:
        moment.wait(20)
        commit(pen)

    with mock.patch.object(Pen, "commit", wait_and_commit):
        yield


# ---------------------------------------------------------------- the database is away


def test_calls_go_on_while_another_program_locks_the_file_and_are_booked_once_afterwards(
    ledger: SqlLedger, lock: sqlite3.Connection, file: Path
) -> None:
    began = time.monotonic()
    for number in range(5):
        a_call(ledger, f"c{number}")
    assert time.monotonic() - began < LONG
    assert len(kept(file)) == 1
    lock.close()
    assert [(row["call_id"], row["status"], row["cost_nano_usd"]) for row in ledger.attempts()] == [
        (f"c{number}", "success", 50) for number in range(5)
    ]
    assert len(ledger.calls()) == 5
    answer(ledger.settle_attempt("c0", 1, settlement(cost=99)))
    assert ledger.attempts("c0")[0]["cost_nano_usd"] == 50
    ledger.close()
    assert list(Path(f"{file}.outbox").iterdir()) == []


def test_what_comes_after_does_not_overtake_what_waits(
    ledger: SqlLedger, lock: sqlite3.Connection, file: Path
) -> None:
    answer(ledger.open_attempt(intent("early")))
    lock.close()
    # The settlement comes when the database is back, the intent may still wait: it must find it.
    answer(ledger.settle_attempt("early", 1, settlement(cost=7)))
    assert [(row["status"], row["cost_nano_usd"]) for row in ledger.attempts()] == [("success", 7)]


def test_reading_says_that_rows_wait_and_does_not_show_half_of_them(
    ledger: SqlLedger, lock: sqlite3.Connection
) -> None:
    a_call(ledger, "c1")
    with mock.patch("llmgate_plugins.ledger.watching.FLUSH", 0.1):
        with pytest.raises(StorageError, match="rows wait for it in the outbox"):
            ledger.attempts()
        with pytest.raises(StorageError, match="rows wait"):
            answer(ledger.standing({}, since=0, until=2_000))
    lock.close()
    assert answer(ledger.standing({}, since=0, until=2_000)).used == ((0, 1, 17, 50),)


def test_a_full_disk_keeps_no_row_out(ledger: SqlLedger, file: Path) -> None:
    answer(ledger.open_attempt(intent("early")))
    pages: int | None = None

    @event.listens_for(ledger.engine, "connect")
    def no_more_pages(connection: Any, _: Any) -> None:
        most = pages or connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {most}")  # as full as a test can have it

    with ledger._writer.gate:
        ledger._tables.disconnect()
    for number in range(20):
        answer(ledger.open_attempt(intent(f"large{number}", labels={"tenant": "x" * 9_000})))
    assert len(kept(file)) == 1
    pages = 100_000
    with ledger._writer.gate:
        ledger._tables.disconnect()
    assert len(ledger.attempts()) == 21


def test_a_disk_that_is_slow_holds_no_answer_up(ledger: SqlLedger, file: Path) -> None:
    answer(ledger.open_attempt(intent("early")))
    slow = threading.Event()
    with mock.patch("llmgate_plugins.ledger.watching.SLOW", 0.3), commits_that_wait_for(slow):
        began = time.monotonic()
        a_call(ledger, "c1")
        a_call(ledger, "c2", 60)
        assert time.monotonic() - began < LONG
        assert len(kept(file)) == 1
        slow.set()
        assert {row["call_id"]: row["cost_nano_usd"] for row in ledger.attempts()} == {
            "early": 0,
            "c1": 50,
            "c2": 60,
        }
        assert len(ledger.calls()) == 2


def test_a_database_that_stands_still_in_the_midst_of_coming_back_holds_nobody_up(
    ledger: SqlLedger, lock: sqlite3.Connection
) -> None:
    a_call(ledger, "c1")  # waits in the outbox
    still = threading.Event()
    slow = mock.patch.multiple("llmgate_plugins.ledger.watching", SLOW=0.2, FLUSH=0.5)
    with slow, commits_that_wait_for(still):
        lock.close()
        until(lambda: ledger._writer.watch.busy_for(0) and not ledger._writer.queue)
        time.sleep(0.15)
        began = time.monotonic()
        a_call(ledger, "c2")
        with pytest.raises(StorageError, match="rows wait"):
            ledger.flush()
        assert time.monotonic() - began < LONG
        ledger.close()
        assert time.monotonic() - began < 2 * LONG, "closing does not wait for ever either"
        still.set()


def test_what_waits_longer_than_it_may_or_takes_more_room_is_refused_aloud(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "box", sync=True, limit=250)
    outbox.put([a_step("a")])
    with pytest.raises(StorageError, match="is full: 250 bytes"):
        outbox.put([a_step("b", "x" * 200)])
    outbox.patience = 0.0
    with pytest.raises(StorageError, match="takes no more: its rows have waited for 0 s"):
        outbox.put([a_step("c")])
    steps, mark = outbox.next(10)
    assert [step.values["call_id"] for step in steps] == ["a"]
    outbox.done(mark, len(steps))
    outbox.patience = 60.0
    outbox.put([a_step("d")])
    assert [step.values["call_id"] for step in outbox.next(10)[0]] == ["d"]
    outbox.close()


def test_nothing_is_said_to_be_booked_when_neither_database_nor_outbox_take_it(
    file: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the directory should be")
    with mock.patch("llmgate_plugins.ledger.sqlite.PATIENCE", 0.1):
        ledger = SqlLedger(f"sqlite:///{file}?outbox={tmp_path}/taken")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"open attempt 1 of call c1: the outbox .* cannot be written"):
        answer(ledger.open_attempt(intent()))
    other.close()
    answer(ledger.open_attempt(intent("c2")))
    assert [row["call_id"] for row in ledger.attempts()] == ["c2"]
    ledger.close()


# ---------------------------------------------------------------- the process dies


def die_with_rows_in_the_outbox(url: str) -> None:
    with mock.patch("llmgate_plugins.ledger.sqlite.PATIENCE", 0.1):
        ledger = SqlLedger(url)
    for number in range(20):
        a_call(ledger, f"c{number}")
    os.kill(os.getpid(), signal.SIGKILL)


def test_rows_that_a_dead_process_left_are_written_by_the_next(
    ledger: SqlLedger, lock: sqlite3.Connection, file: Path
) -> None:
    victim = processes().Process(target=die_with_rows_in_the_outbox, args=(f"sqlite:///{file}",))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL
    (left,) = kept(file)
    _, end, _ = Extent.of(left) or (0, 0, 0)
    cut = b'deadbeef {"kind": "open"'  # what a power failure has cut
    with left.open("r+b") as out:
        out.seek(end)
        out.write(cut)
        out.seek(16)
        out.write(struct.pack("<Q", end + len(cut)))
    lock.close()
    answer(ledger.open_attempt(intent("own")))
    until(lambda: kept(file) == [])
    assert {row["call_id"]: row["status"] for row in ledger.attempts()} == {
        "own": "intent",
        **{f"c{number}": "success" for number in range(20)},
    }
    assert len(ledger.calls()) == 20


def test_rows_of_a_process_that_lives_are_left_to_it(tmp_path: Path) -> None:
    first, second = Outbox(tmp_path, sync=False), Outbox(tmp_path, sync=False)
    first.put([a_step("a")])
    assert second.adopt() is None
    first.close()
    adopted = second.adopt()
    assert adopted is not None
    assert [step.values["call_id"] for step in adopted.next(10)[0]] == ["a"]
    adopted.close()
    assert len(list(tmp_path.glob("*.outbox"))) == 1, "what nobody has written stays"


def test_all_files_of_a_dead_process_are_taken_over_by_one_and_read_in_their_order(tmp_path: Path) -> None:
    outbox, names = Outbox(tmp_path, sync=False), [f"{number:02}" for number in range(12)]
    for name in names:
        outbox.put([a_step(name, "x" * (SIZE // 3))])
    last = record("last")
    outbox.put_brief(call_facts(last), last)
    outbox.make_whole()  # which writes the last of them anew
    assert len(list(tmp_path.glob("*.outbox"))) == 6
    outbox.close()
    heir, other = (Outbox(tmp_path, sync=False) for _ in range(2))
    adopted = heir.adopt()
    assert adopted is not None
    assert other.adopt() is None
    found: list[str] = []
    decisions: list[dict[str, Any]] = []
    while adopted.waiting:
        assert other.adopt() is None, "what comes later must not be faster"
        steps, mark = adopted.next(5)
        found += [step.values["call_id"] for step in steps]
        adopted.done(mark, len(steps))
        decisions += [json.loads(step.values["decision"]) for step in steps if step.kind == "close"]
    assert found == [*names, "last"]
    assert [one["call_id"] for one in decisions] == ["last"]
    adopted.close()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_stands_in_nobodys_way(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, sync=False)
    for name in "abcd":
        outbox.put([a_step(name, "x" * (SIZE // 2))])
    outbox.close()
    min(tmp_path.glob("*.outbox")).write_bytes(b"")
    heir = Outbox(tmp_path, sync=False)
    assert heir.adopt() is None
    adopted = heir.adopt()
    assert adopted is not None
    assert [step.values["call_id"] for step in adopted.next(10)[0]] == ["b"]
    adopted.close()


def test_a_damaged_line_is_left_out_and_the_others_are_read(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, sync=False)
    outbox.put([a_step("a"), a_step("b", "日本語🙂 \n"), a_step("c")])
    outbox.close()
    (path,) = tmp_path.glob("*.outbox")
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"X"'))
    again = Outbox(tmp_path, sync=False).adopt()
    assert again is not None
    steps, mark = again.next(10)
    assert [(step.values["call_id"], step.values["messages"]) for step in steps] == [
        ("b", ["日本語🙂 \n"]),
        ("c", [""]),
    ]
    again.done(mark, len(steps))
    assert not again.waiting
    again.close()
    assert list(tmp_path.glob("*.outbox")) == []


def test_a_row_that_no_database_takes_is_put_aside_for_people_and_the_others_go_on(
    ledger: SqlLedger, lock: sqlite3.Connection, file: Path
) -> None:
    answer(ledger.open_attempt(intent("large", estimate=2**70)))
    answer(ledger.open_attempt(intent("good")))
    lock.close()
    assert [row["call_id"] for row in ledger.attempts()] == ["good"]
    assert b"large" in (Path(f"{file}.outbox") / "rejected").read_bytes()


def test_a_forked_child_leaves_the_outbox_of_its_parent_alone(
    ledger: SqlLedger, lock: sqlite3.Connection, file: Path
) -> None:
    answer(ledger.open_attempt(intent("parent")))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            answer(ledger.open_attempt(intent("child")))
            assert len(kept(file)) == 2
            ledger.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    lock.close()
    answer(ledger.open_attempt(intent("after")))
    ledger._writer.drain.look_around = True  # as every half minute
    answer(ledger.open_attempt(intent("later")))
    until(lambda: len(ledger.attempts()) == 4)
    assert {row["call_id"] for row in ledger.attempts()} == {"parent", "child", "after", "later"}
