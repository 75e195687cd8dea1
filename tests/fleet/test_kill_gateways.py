"""Gateways killed at any moment lose no row they relied on, double none, and leave what recovery ends."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support.dying import PHASES, call_until_killed, open_and_die, told, upgrade_and_die
from support.gateways import deployment
from support.servers import PostgresServer
from support.version1 import write_version_1
from support.writers import processes

from llmgate_plugins import Gateway
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.segments import Extent
from llmgate_plugins.ledger.upgrading import upgrade
from llmgate_plugins.testing import ScriptedProvider

CAMPAIGN = [pytest.mark.campaign]


@contextmanager
def calling(url: str, files: Path, name: str, count: int, phases: list[str], seed: int) -> Iterator[None]:
    """So many gateways on one ledger, at work, each with a phase in which it dies; then all are killed."""
    chance = random.Random(seed)
    context = processes()
    gateways: list[BaseProcess] = []
    told_in: list[Path] = []
    for number in range(count):
        phase = phases[(seed * 5 + number) % len(phases)]
        after = chance.randint(0, 200 if phase == "in a transaction" else 60)
        file = files / f"told-{name}-{number}"
        gateways.append(
            context.Process(target=call_until_killed, args=(url, f"{name}-{number}", file, phase, after))
        )
        told_in.append(file)
    try:
        for gateway in gateways:
            gateway.start()
        until = time.monotonic() + 60
        while not all(_works_or_is_dead(*one) for one in zip(gateways, told_in, strict=True)):
            assert time.monotonic() < until, "the gateways do not call"
            time.sleep(0.01)
        yield
    finally:
        for gateway in gateways:
            gateway.kill()
            gateway.join()


def _works_or_is_dead(gateway: BaseProcess, file: Path) -> bool:
    return not gateway.is_alive() or (file.exists() and file.stat().st_size > 0)


def rounds_of_death(
    url: str, files: Path, rounds: int, trouble: Callable[[], None] = lambda: None, seed: int = 5
) -> None:
    """Rounds of 4 to 8 gateways; in the midst of each there is trouble."""
    chance = random.Random(seed)
    phases = [phase for phase in PHASES for _ in range(2)]
    for turn in range(rounds):
        with calling(url, files, str(turn), chance.randint(4, 8), phases, seed + turn):
            trouble()
            time.sleep(chance.uniform(0.1, 0.4))


def books_of_the_next(url: str) -> SqlLedger:
    """The books as the next gateway finds them: its first row brings along what the dead have left."""
    ledger = SqlLedger(url)
    gateway = Gateway([deployment("a")], transport=ScriptedProvider(), ledger=ledger)
    gateway.complete("fast", "hello", call_id="next")
    outbox = ledger._database.outbox
    until = time.monotonic() + 30
    while ledger._writer.outbox.waiting_of_all():
        assert time.monotonic() < until, "an outbox of the dead is left"
        time.sleep(0.02)
    assert not (outbox / "rejected").exists()
    return ledger


def _waiting(file: Path) -> int:
    """Bytes."""
    extent = Extent.of(file)
    return 0 if extent is None else extent.waiting


def check_books(url: str, files: Path) -> int:
    """Whether the books have all that any process relied on, once; how many calls those were."""
    sent: set[tuple[str, int]] = set()
    over: dict[str, int] = {}
    for file in files.glob("told-*"):
        of_one = told(file)
        sent |= of_one[0]
        over |= of_one[1]
    ledger = books_of_the_next(url)
    try:
        attempts, calls = ledger.attempts(), ledger.calls()
        rows = {(row["call_id"], row["number"]): row for row in attempts}
        assert len(rows) == len(attempts), "an attempt has two rows"
        assert sent <= rows.keys(), "an attempt was sent and has no row"
        costs = {row["call_id"]: row["cost_nano_usd"] for row in calls}
        assert len(costs) == len(calls), "a call has two rows"
        assert over.items() <= costs.items(), "a call was over and has no row"
        settled: dict[str, int] = {}
        for (call_id, _), row in rows.items():
            if call_id in costs:
                assert row["status"] != "intent", "a call is over, and an attempt of it is not"
                settled[call_id] = settled.get(call_id, 0) + row["cost_nano_usd"]
        assert settled == costs
        intents = [row for row in attempts if row["status"] == "intent"]
        assert all(row["estimate_nano_usd"] > 0 for row in intents)
        assert ledger.recover(older_than=-1, now=time.time()) == len(intents) > 0
        ended = {(row["call_id"], row["number"]): row for row in ledger.attempts()}
        for row in intents:
            one = ended[row["call_id"], row["number"]]
            assert (one["status"], one["cost_nano_usd"]) == ("unknown", row["estimate_nano_usd"])
        assert len(ended) == len(rows)
    finally:
        ledger.close()
    print(f"{len(over)} calls and {len(sent)} attempts were relied on, {len(intents)} were recovered")
    return len(over)


def check_file(file: Path) -> None:
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(40, marks=CAMPAIGN)])
def test_gateways_killed_in_every_phase_keep_their_books_on_sqlite(tmp_path: Path, rounds: int) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    rounds_of_death(url, tmp_path, rounds)
    assert check_books(url, tmp_path) > 5 * rounds
    check_file(tmp_path / "books.db")


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=CAMPAIGN)])
def test_gateways_killed_while_their_rows_wait_in_the_outbox_keep_their_books(
    tmp_path: Path, rounds: int
) -> None:
    """Another program locks the file from the middle of each round on, until all are dead."""
    url = f"sqlite:///{tmp_path}/books.db"
    SqlLedger(url).close()
    outboxes = tmp_path / "books.db.outbox"

    def wait_for_rows() -> None:
        until = time.monotonic() + 30
        while sum(map(_waiting, outboxes.glob("*.outbox"))) < 20_000:
            assert time.monotonic() < until, "no rows go to the outbox"
            time.sleep(0.02)

    for turn in range(rounds):
        other = sqlite3.connect(tmp_path / "books.db", isolation_level=None, timeout=30)
        with calling(url, tmp_path, str(turn), 4, ["any", "sent", "any", "mid-stream"], turn):
            other.execute("BEGIN IMMEDIATE")
            wait_for_rows()
        other.close()
    assert check_books(url, tmp_path) > 4 * rounds  # each row waits a second before it goes there
    check_file(tmp_path / "books.db")


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=CAMPAIGN)])
def test_gateways_killed_in_every_phase_keep_their_books_in_postgresql(
    tmp_path: Path, postgres_url: str, rounds: int
) -> None:
    url = f"{postgres_url}?outbox={tmp_path}/outbox"
    SqlLedger(url).close()
    rounds_of_death(url, tmp_path, rounds)
    assert check_books(url, tmp_path) > 5 * rounds


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=CAMPAIGN)])
def test_gateways_and_their_postgresql_killed_together_keep_their_books(
    tmp_path: Path, fresh_postgres: PostgresServer, rounds: int
) -> None:
    url = f"{fresh_postgres.database()}?outbox={tmp_path}/outbox"
    SqlLedger(url).close()

    def the_server_is_killed() -> None:
        time.sleep(0.2)
        fresh_postgres.kill()
        time.sleep(0.5)
        fresh_postgres.start()

    rounds_of_death(url, tmp_path, rounds, the_server_is_killed)
    assert check_books(url, tmp_path) > 5 * rounds


def test_a_ledger_whose_first_openers_are_killed_is_opened_by_the_next(tmp_path: Path) -> None:
    context = processes()
    url = f"sqlite:///{tmp_path}/new.db"
    for statements in range(0, 24, 3):
        for left in tmp_path.glob("new.db*"):
            left.unlink()
        dying = [context.Process(target=open_and_die, args=(url, statements + more)) for more in (0, 1)]
        for process in dying:
            process.start()
        for process in dying:
            process.join()
        ledger = SqlLedger(url)
        assert ledger.attempts() == []
        ledger.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_upgrade_that_is_killed_changes_nothing_and_can_be_tried_again(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    file = f"sqlite:///{tmp_path}/old.db"
    url = file if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database = open_database(url)
    with database.connect(writing=True) as connection, connection.begin():
        write_version_1(connection)
    database.engine.dispose()
    exits = []
    for statements in range(2, 90, 9):
        dying = processes().Process(target=upgrade_and_die, args=(url, statements))
        dying.start()
        dying.join()
        exits.append(dying.exitcode)
        if dying.exitcode == 0:  # it takes no more statements than that
            break
    assert exits[:3] == [-9, -9, -9]
    upgrade(database)
    database.engine.dispose()
    ledger = SqlLedger(url)
    assert [row["call_id"] for row in ledger.attempts()] == [f"old{number}" for number in range(10)]
    ledger.close()
