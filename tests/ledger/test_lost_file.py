"""A ledger's file that is deleted, renamed or replaced while it is written to."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.books import answer, intent, record, settlement

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger import SqlLedger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be taken away there")


def a_call(ledger: SqlLedger, name: str) -> None:
    answer(ledger.open_attempt(intent(name)))
    answer(ledger.settle_attempt(name, 1, settlement()))
    answer(ledger.close_call(record(name)))


def calls_in(file: Path) -> set[str]:
    """Of which calls the file has both rows, by another program; it is sound."""
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        attempts = other.execute("SELECT call_id FROM attempts WHERE status = 'success'").fetchall()
        assert attempts == other.execute("SELECT call_id FROM calls").fetchall()
        return {name for (name,) in attempts}


def delete(file: Path) -> None:
    for one in file.parent.glob(f"{file.name}*"):
        if one.is_file():
            one.unlink()


def delete_alone(file: Path) -> None:
    file.unlink()


def rename(file: Path) -> None:
    file.rename(file.with_name("old.db"))


def replace(file: Path) -> None:
    other = SqlLedger(f"sqlite:///{file.with_name('other.db')}")
    a_call(other, "of the backup")
    other.close()
    file.with_name("other.db").replace(file)


TAKEN: list[Callable[[Path], None]] = [delete, delete_alone, rename, replace]


@pytest.mark.parametrize("durability", ["queued", "normal", "full"])
@pytest.mark.parametrize("take_away", TAKEN)
def test_what_comes_after_stands_in_the_file_that_is_there(
    take_away: Callable[[Path], None], durability: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "books.db"
    ledger = SqlLedger(f"sqlite:///{file}", durability=durability)
    a_call(ledger, "before")
    ledger.flush()
    take_away(file)
    with caplog.at_level(logging.ERROR, "llmgate.ledger"):
        for number in range(3):
            a_call(ledger, f"after {number}")
        ledger.flush()
    told = [line.getMessage() for line in caplog.records]
    assert len(told) == 1
    assert str(file) in told[0]
    kept = {"of the backup"} if take_away is replace else set()
    assert calls_in(file) == {"after 0", "after 1", "after 2"} | kept
    assert {row["call_id"] for row in ledger.attempts()} == calls_in(file)
    ledger.close()
    assert calls_in(file) == {"after 0", "after 1", "after 2"} | kept
    if take_away is rename:
        assert calls_in(tmp_path / "old.db") == {"before"}


def test_a_directory_that_is_gone_and_comes_back_has_what_was_booked_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "volume" / "books.db"
    file.parent.mkdir()
    ledger = SqlLedger(f"sqlite:///{file}?outbox={tmp_path}/outbox")
    a_call(ledger, "before")
    ledger.flush()
    shutil.rmtree(file.parent)
    a_call(ledger, "meanwhile")
    file.parent.mkdir()
    a_call(ledger, "after")
    ledger.flush()
    assert calls_in(file) == {"meanwhile", "after"}
    ledger.close()


def test_a_reader_sees_the_old_rows_or_the_new_and_spoils_neither(tmp_path: Path) -> None:
    file = tmp_path / "books.db"
    ledger = SqlLedger(f"sqlite:///{file}")
    a_call(ledger, "before")
    with ledger.reading(), ledger.reading(), ledger.reading():
        delete(file)
        with pytest.raises(StorageError, match="deleted, renamed or replaced"), ledger.reading():
            pass
        a_call(ledger, "after")
        ledger.flush()
    assert calls_in(file) == {"after"} == {row["call_id"] for row in ledger.attempts()}
    ledger.close()


def test_several_processes_go_on_in_one_new_file(tmp_path: Path) -> None:
    file = tmp_path / "books.db"
    program = """
        import sys
        from pathlib import Path
        from support.books import answer, intent, record, settlement
        from llmgate_plugins.ledger import SqlLedger

        file, name = Path(sys.argv[1]), sys.argv[2]
        ledger = SqlLedger(f"sqlite:///{file}")
        for number, _ in enumerate(sys.stdin):
            call = f"{name}.{number}"
            answer(ledger.open_attempt(intent(call)))
            answer(ledger.settle_attempt(call, 1, settlement()))
            answer(ledger.close_call(record(call)))
            ledger.flush()
            print(call, flush=True)
        ledger.close()
    """
    tests = str(Path(__file__).parents[1])
    others = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(file), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": tests},
        )
        for name in ("one", "two", "three")
    ]

    def each_books_one() -> set[str]:
        for other in others:
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()
        return {str(other.stdout.readline()).strip() for other in others if other.stdout is not None}

    each_books_one()
    for _ in range(5):
        file.unlink()
        booked = {name for _ in range(3) for name in each_books_one()}
        assert calls_in(file) == booked
    for other in others:
        other.communicate(timeout=60)
    assert calls_in(file) == booked
    assert {other.returncode for other in others} == {0}
