"""Books in a file: opening, durability, threads, forks, processes, trouble."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.books import answer, intent, record, settlement
from support.patience import until
from support.writers import processes, write_and_recover

from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger import MemoryLedger, SqlLedger, open_ledger
from llmgate_plugins.ledger.entries import Entry
from llmgate_plugins.promises import Promise


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[SqlLedger]:
    """One in which an answer is there when the database has the row; see `test_ahead` for others."""
    ledger = SqlLedger(f"sqlite:///{file}", durability="full")
    yield ledger
    ledger.close()


def pragma(ledger: SqlLedger, name: str) -> object:
    with ledger.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@contextmanager
def in_one_transaction(ledger: SqlLedger) -> Iterator[None]:
    """What is handed over in here is written together: the writer waits with a lesser task in hand."""
    with ledger._writer.gate:
        ledger._writer.put(Entry("flush"))
        while ledger._writer.queue:
            time.sleep(0.001)
        yield


# ---------------------------------------------------------------- opening


def test_a_ledger_is_opened_by_its_url(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_ledger(), MemoryLedger)
    assert isinstance(open_ledger("memory"), MemoryLedger)
    monkeypatch.chdir(file.parent)
    ledger = open_ledger("sqlite:///books.db")
    monkeypatch.chdir("/")
    answer(ledger.open_attempt(intent()))
    ledger.close()
    assert file.exists()
    again = open_ledger(f"sqlite:///{file}")
    assert len(again.attempts()) == 1
    again.close()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory"]
)
def test_an_sqlite_ledger_without_a_file_is_refused_with_advice(url: str) -> None:
    with pytest.raises(ConfigurationError, match="or memory for books"):
        open_ledger(url)


@pytest.mark.parametrize("url", ["mysql://u:canary@h/d", "mysql://h", "", "sqlite3:///x", "x.db"])
def test_an_unknown_ledger_names_what_there_is_and_shows_no_password(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match="there are: memory, sqlite:///FILE, postgresql://"
    ) as caught:
        open_ledger(url)
    assert "canary" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no directory .*missing"):
        open_ledger(f"sqlite:///{tmp_path}/missing/books.db")
    with pytest.raises(ConfigurationError, match="is a directory"):
        open_ledger(f"sqlite:///{tmp_path}")
    with pytest.raises(ConfigurationError, match=r"cannot be (written|made)"):
        open_ledger("sqlite:////proc/books.db")
    with pytest.raises(ConfigurationError, match="durability"):
        open_ledger(f"sqlite:///{tmp_path}/books.db?durability=maybe")
    with pytest.raises(ConfigurationError, match="durability"):
        open_ledger(f"sqlite:///{tmp_path}/books.db?timeout=3")


def test_a_file_that_is_no_ledger_is_left_as_it_is(file: Path) -> None:
    file.write_text("dear diary, " * 500)
    with pytest.raises(StorageError, match="not a database"):
        open_ledger(f"sqlite:///{file}")
    assert file.read_text() == "dear diary, " * 500


def test_a_database_of_something_else_is_left_as_it_is(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE calls (x)")
    connection.close()
    with pytest.raises(StorageError, match="a database of its own"):
        open_ledger(f"sqlite:///{file}")


@pytest.mark.parametrize(
    ("version", "way_out"), [(99, "newer"), (1, "llmgate ledger upgrade"), (0, "start a new one")]
)
def test_tables_of_another_version_are_refused_with_a_way_out(
    ledger: SqlLedger, file: Path, version: int, way_out: str
) -> None:
    ledger.close()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE llmgate_schema SET version = ?", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match=f"version {version}.*{way_out}"):
        open_ledger(f"sqlite:///{file}")


def test_a_missing_sqlalchemy_is_named_with_the_way_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import llmgate_plugins.ledger as books\n"
        "from llmgate_plugins.errors import ConfigurationError\n"
        "try: books.open_ledger(sys.argv[1])\n"
        "except ConfigurationError as error: print(error)\n"
        "print(type(books.open_ledger('memory')).__name__)"
    )
    url = f"sqlite:///{tmp_path}/books.db"
    told = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert "pip install 'llmgate-plugins[sql]'" in told.stdout
    assert told.stdout.endswith("MemoryLedger\n")


def test_the_ledgers_are_imported_without_sqlalchemy() -> None:
    code = "import sys, llmgate_plugins.ledger; print('sqlalchemy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize(
    ("given", "pragma_value"), [("", 1), ("?durability=full", 2), ("?durability=queued", 1)]
)
def test_durability_is_a_choice(file: Path, given: str, pragma_value: int) -> None:
    ledger = SqlLedger(f"sqlite:///{file}{given}")
    assert pragma(ledger, "synchronous") == pragma_value
    assert pragma(ledger, "journal_mode") == "wal"
    assert pragma(ledger, "busy_timeout") == 1_000
    assert pragma(ledger, "foreign_keys") == 0
    ledger.close()
    with pytest.raises(ConfigurationError, match="durability"):
        SqlLedger(f"sqlite:///{file}", durability="hope")


# ---------------------------------------------------------------- writing


def test_an_acknowledged_row_is_in_the_file(ledger: SqlLedger, file: Path) -> None:
    pending = ledger.open_attempt(intent())
    assert isinstance(pending, Promise)
    pending.result(timeout=30)
    other = sqlite3.connect(file)
    assert other.execute("SELECT call_id, status FROM attempts").fetchall() == [("c1", "intent")]
    other.close()


def test_where_rows_are_queued_nobody_waits_and_all_are_written_in_their_order(file: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{file}", durability="queued")
    with ledger._writer.gate:  # nothing is written meanwhile
        for number in range(20):
            assert ledger.open_attempt(intent(f"c{number:02}")).result(timeout=0) is None
            assert ledger.settle_attempt(f"c{number:02}", 1, settlement()).result(timeout=0) is True
            assert ledger.close_call(record(f"c{number:02}")).result(timeout=0) is None
    assert [row["status"] for row in ledger.attempts()] == ["success"] * 20
    assert len(ledger.calls()) == 20
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        ledger.open_attempt(intent("late"))


def test_a_row_that_cannot_be_written_fails_alone(ledger: SqlLedger) -> None:
    with in_one_transaction(ledger):
        good = [ledger.open_attempt(intent(f"good{n}")) for n in range(3)]
        too_large = ledger.open_attempt(intent("large", estimate=2**70))
        no_deployment = ledger.open_attempt(intent("broken", deployment=None))
        none_at = ledger.open_attempt(intent("timeless", at=None))
        settled = ledger.settle_attempt("good0", 1, settlement())
        repeated = ledger.settle_attempt("good0", 1, settlement())
        closed = ledger.close_call(record("good0"))
    for pending in (*good, closed):
        assert pending.result(timeout=30) is None
    assert (settled.result(timeout=30), repeated.result(timeout=30)) == (True, False)
    for pending, named in ((too_large, "large"), (no_deployment, "broken"), (none_at, "timeless")):
        with pytest.raises(StorageError, match=f"open attempt 1 of call {named}"):
            pending.result(timeout=30)
    assert [row["call_id"] for row in ledger.attempts()] == ["good0", "good1", "good2"]
    assert len(ledger.calls()) == 1


def test_rows_that_meet_in_one_transaction_keep_their_order(ledger: SqlLedger) -> None:
    with in_one_transaction(ledger):
        ledger.open_attempt(intent("b"))
        pending = [ledger.settle_attempt("a", 1, settlement()), ledger.settle_attempt("b", 1, settlement())]
        ledger.open_attempt(intent("a"))
        pending.append(ledger.settle_attempt("a", 1, settlement()))
        pending.append(ledger.settle_attempt("a", 1, settlement()))
    assert [one.result(timeout=30) for one in pending] == [False, True, True, False]
    with in_one_transaction(ledger):
        early = ledger.settle_attempt("c", 1, settlement())
        ledger.open_attempt(intent("c"))
    assert early.result(timeout=30) is False
    assert {row["call_id"]: row["status"] for row in ledger.attempts()} == {
        "a": "success",
        "b": "success",
        "c": "intent",
    }


def test_a_writer_that_waits_keeps_no_error_of_the_last_call_alive(ledger: SqlLedger) -> None:
    class Heavy(Exception):
        pass

    answer(ledger.close_call(record(error=Heavy("with a long traceback"))))
    until(lambda: not any(type(found) is Heavy for found in gc.get_objects()))


async def test_a_task_that_is_cancelled_while_it_waits_has_still_written(ledger: SqlLedger) -> None:
    with ledger._writer.gate:
        pending = ledger.open_attempt(intent("left"))
        waiting = asyncio.ensure_future(pending.aresult())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not pending.done()
    await ledger.open_attempt(intent("stayed"))
    assert {row["call_id"] for row in ledger.attempts()} == {"left", "stayed"}


def test_a_full_queue_blocks_for_a_while_and_then_says_so(file: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{file}", durability="full", queue_limit=2, queue_patience=0.2, batch=1)
    with ledger._writer.gate:
        for number in range(3):  # one is in the writer's hand
            ledger.open_attempt(intent(f"c{number}"))
            while number == 0 and ledger._writer.queue:
                time.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"queue of 2 rows has been full for 0\.2 s"):
            ledger.open_attempt(intent("refused"))
        assert time.monotonic() - began >= 0.2
    ledger.open_attempt(intent("c3")).result(timeout=30)
    assert [row["call_id"] for row in ledger.attempts()] == ["c0", "c1", "c2", "c3"]
    ledger.close()


def test_nothing_is_written_after_closing_and_what_waited_is(ledger: SqlLedger) -> None:
    waiting = [ledger.open_attempt(intent(f"c{n:04}")) for n in range(1_200)]
    ledger.close()
    assert all(pending.done() for pending in waiting)
    with pytest.raises(StorageError, match="closed"):
        ledger.open_attempt(intent("late"))
    assert len(ledger.attempts()) == 1_200


@pytest.mark.parametrize("durability", ["queued", "normal", "full"])
def test_what_was_under_way_when_it_was_closed_still_comes_to_its_end(file: Path, durability: str) -> None:
    ledger = SqlLedger(f"sqlite:///{file}", durability=durability)
    for name in ("c1", "c2"):
        ledger.open_attempt(intent(name))
    ledger.close()
    assert answer(ledger.settle_attempt("c1", 1, settlement(cost=7))) is True
    answer(ledger.close_call(record("c1")))
    with pytest.raises(StorageError, match="closed"):
        ledger.open_attempt(intent("new"))
    assert {row["call_id"]: (row["status"], row["cost_nano_usd"]) for row in ledger.attempts()} == {
        "c1": ("success", 7),
        "c2": ("intent", 0),
    }
    assert [row["call_id"] for row in ledger.calls()] == ["c1"]

    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.settle_attempt("c2", 1, settlement(cost=8))
    other.close()
    after = SqlLedger(f"sqlite:///{file}")
    assert after.attempts("c2")[0]["cost_nano_usd"] == 8
    after.close()


def test_a_lock_held_by_another_program_is_waited_out(ledger: SqlLedger, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    pending = ledger.open_attempt(intent())
    time.sleep(0.2)
    assert not pending.done()
    other.execute("COMMIT")
    other.close()
    pending.result(timeout=30)


def test_a_database_that_vanishes_is_told_to_everyone_who_waits(ledger: SqlLedger, file: Path) -> None:
    answer(ledger.open_attempt(intent()))
    other = sqlite3.connect(file)
    other.execute("DROP TABLE attempts")
    other.commit()
    other.close()
    pending = [ledger.open_attempt(intent("c2")), ledger.settle_attempt("c1", 1, settlement())]
    for one in pending:
        with pytest.raises(StorageError, match="no such table"):
            one.result(timeout=30)
    answer(ledger.close_call(record()))
    with pytest.raises(StorageError, match="could not be read"):
        ledger.attempts()


def test_a_callback_that_waits_for_its_own_writer_is_refused(ledger: SqlLedger) -> None:
    seen: list[object] = []
    done = threading.Event()

    def callback(_: object) -> None:
        try:
            ledger.attempts()
        except StorageError as error:
            seen.append(error)
        done.set()

    with ledger._writer.gate:
        ledger.open_attempt(intent()).add_done_callback(callback)
    assert done.wait(30)
    assert "cannot wait" in str(seen[0])


def test_a_forgotten_ledger_writes_what_waits_and_ends_its_thread(file: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{file}")
    pending = ledger.open_attempt(intent())
    thread = ledger._writer._thread
    assert thread is not None
    del ledger
    gc.collect()
    assert pending.done()
    until(lambda: not thread.is_alive())


def test_what_waits_is_written_when_the_interpreter_ends(file: Path) -> None:
    code = (
        "import sys; from llmgate_plugins.ledger import open_ledger; from support.books import intent\n"
        "ledger = open_ledger(sys.argv[1])\n"
        "for n in range(2000): ledger.open_attempt(intent(f'c{n}'))\n"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{file}"], check=True, env={**os.environ, "PYTHONPATH": path}
    )
    again = open_ledger(f"sqlite:///{file}")
    assert len(again.attempts()) == 2_000
    again.close()


# ---------------------------------------------------------------- processes


def in_child(work: object) -> int:
    """Run this in a forked child; its exit status (0: it returned)."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlLedger]:
    """A ledger of each kind of database."""
    if request.param == "sqlite":
        ledger = SqlLedger(f"sqlite:///{tmp_path}/shared.db")
    else:
        ledger = SqlLedger(request.getfixturevalue("postgres_url"), outbox=tmp_path / "outbox")
    yield ledger
    ledger.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(shared: SqlLedger) -> None:
    ledger = shared
    answer(ledger.open_attempt(intent("before")))
    ledger.flush()  # the order of rows is that of one process: a child settles what is in the books
    waiting = [ledger.open_attempt(intent(f"parent{n:03}")) for n in range(300)]

    def child() -> None:
        answer(ledger.open_attempt(intent("child")))
        assert answer(ledger.settle_attempt("before", 1, settlement())) is True
        assert "child" in {row["call_id"] for row in ledger.attempts()}
        ledger.close()

    assert in_child(child) == 0
    for pending in waiting:
        pending.result(timeout=30)
    answer(ledger.settle_attempt("before", 1, settlement(cost=9)))
    assert ledger.attempts("before")[0]["cost_nano_usd"] == 50
    answer(ledger.open_attempt(intent("after")))
    names = [row["call_id"] for row in ledger.attempts()]
    assert len(names) == len(set(names)) == 303


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forks_in_the_midst_of_writing_lose_nothing(shared: SqlLedger) -> None:
    ledger = shared
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not stop.is_set():
            name = f"thread{len(written)}"
            answer(ledger.open_attempt(intent(name)))
            written.append(name)
            ledger.attempts(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            assert in_child(lambda n=number: answer(ledger.open_attempt(intent(f"child{n}")))) == 0
    finally:
        stop.set()
        writer.join()
    names = {row["call_id"] for row in ledger.attempts()}
    assert names == {*written, *(f"child{n}" for n in range(8))}


def test_four_processes_share_one_file_from_its_first_moment(file: Path) -> None:
    context = processes()
    together, url = context.Barrier(4), f"sqlite:///{file}"
    workers = [context.Process(target=write_and_recover, args=(url, name, together)) for name in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    ledger = open_ledger(url)
    rows = ledger.attempts()
    assert (len(rows), len(ledger.calls())) == (120, 120)
    assert sum(row["status"] == "unknown" for row in rows) == 40
    assert sum(int(Path(f"{file}.{name}").read_text()) for name in range(4)) == 40, "each intent once"
    ledger.close()


def test_a_ledger_that_has_been_idle_for_long_closes_in_order(file: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{file}")
    answer(ledger.open_attempt(intent()))
    until(lambda: not ledger._writer.watch.awake)  # it sleeps
    ledger.close()  # an error of its thread would fail this test
    assert len(ledger.attempts()) == 1
