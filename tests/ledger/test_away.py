"""Calls of a gateway while its ledger's database is away: locked, gone, restarted, refusing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.books import answer, impatient, intent, record, settlement
from support.faces import ask, every_face
from support.gateways import deployment
from support.servers import PostgresServer

from llmgate_plugins import AllDeploymentsUnavailable, Gateway
from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import LedgerAccounting
from llmgate_plugins.promises import Promise
from llmgate_plugins.testing import ScriptedProvider

LONG = 15.0
"""Seconds for a whole call with three rows, on a machine that has other things to do."""


def gateway(ledger: SqlLedger, *plugins: object) -> Gateway:
    return Gateway(
        [deployment("a")],
        transport=ScriptedProvider({"a": ["fine"]}, default=None),
        plugins=plugins,
        ledger=ledger,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = impatient(f"sqlite:///{tmp_path}/books.db")
    yield ledger
    ledger.close()


@pytest.fixture
def lock(ledger: SqlLedger, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    other = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


@every_face
def test_a_locked_file_holds_no_answer_up_and_no_row_is_missing_afterwards(
    face: str, ledger: SqlLedger, lock: sqlite3.Connection
) -> None:
    began = time.monotonic()
    told = ask(face, gateway(ledger))
    assert told.text == "fine"
    assert time.monotonic() - began < LONG
    assert told.record.problems == []
    lock.close()
    (row,), (call,) = ledger.attempts(), ledger.calls()
    assert row["status"] == call["status"] == "success"
    assert row["cost_nano_usd"] == call["cost_nano_usd"] > 0


def refusing(ledger: SqlLedger) -> Any:
    """Neither database nor outbox take anything."""
    full = StorageError("the outbox is full")
    return mock.patch.object(ledger._writer.outbox, "_with_room", side_effect=full)


@every_face
def test_what_cannot_be_booked_at_all_is_noted_and_the_call_goes_on(
    face: str, ledger: SqlLedger, lock: sqlite3.Connection
) -> None:
    with refusing(ledger):
        told = ask(face, gateway(ledger))
    assert told.text == "fine"
    assert {(plugin, hook) for plugin, hook, _ in told.record.problems} == {
        ("LedgerAccounting", hook) for hook in ("begin_attempt", "end_call")
    }


@every_face
def test_where_books_are_required_nothing_is_sent_that_is_not_booked(
    face: str, ledger: SqlLedger, lock: sqlite3.Connection
) -> None:
    strict = gateway(ledger, LedgerAccounting(required=True))
    with refusing(ledger):
        told = ask(face, strict)
    assert isinstance(told.error, AllDeploymentsUnavailable)
    assert [outcome.skipped for _, outcome in told.record.attempts] == ["ledger"]
    assert strict.transport.sent == []  # type: ignore[union-attr]
    lock.close()
    assert ask(face, strict).text == "fine"


async def test_a_caller_that_leaves_while_its_intent_is_written_leaves_no_open_row(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/books.db", durability="full")
    with ledger._writer.gate:
        task = asyncio.ensure_future(gateway(ledger).acomplete("fast", "hello"))
        while not ledger._writer.queue and not ledger._writer.watch.hand:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,), (call,) = ledger.attempts(), ledger.calls()
    assert (row["status"], row["cost_nano_usd"]) == ("skipped", 0)
    assert (call["status"], call["attempts"]) == ("cancelled", 0)
    ledger.close()


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.close()


def a_call(ledger: SqlLedger, name: str) -> None:
    answer(ledger.open_attempt(intent(name)))
    answer(ledger.settle_attempt(name, 1, settlement()))
    answer(ledger.close_call(record(name)))


def test_a_server_that_stops_dies_stands_still_and_comes_back_loses_and_doubles_nothing(
    server: PostgresServer, tmp_path: Path
) -> None:
    ledger = SqlLedger(f"{server.database()}?outbox={tmp_path}/outbox")
    names: list[str] = []

    def some() -> None:
        for _ in range(5):
            names.append(f"c{len(names):03}")
            began = time.monotonic()
            a_call(ledger, names[-1])
            assert time.monotonic() - began < LONG

    some()
    server.restart()
    some()
    server.kill()
    some()
    assert list((tmp_path / "outbox").glob("*.outbox"))
    server.start()
    some()
    server.pause()
    some()
    server.resume()
    some()
    ledger.flush()
    rows, calls = ledger.attempts(), ledger.calls()
    assert [row["call_id"] for row in rows] == [row["call_id"] for row in calls] == names
    assert {row["status"] for row in rows} == {"success"}
    assert sum(row["cost_nano_usd"] for row in rows) == sum(row["cost_nano_usd"] for row in calls)
    ledger.close()
    assert not list((tmp_path / "outbox").glob("*.outbox"))
    server.stop()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        SqlLedger(server.url("books1"))


def test_threads_that_write_while_the_server_restarts_get_every_answer(
    server: PostgresServer, tmp_path: Path
) -> None:
    ledger = SqlLedger(f"{server.database()}?outbox={tmp_path}/outbox")
    pending: list[Promise[None]] = []
    stop = threading.Event()

    def write(thread: int) -> None:
        number = 0
        while not stop.is_set():
            pending.append(ledger.open_attempt(intent(f"{thread}-{number}")))
            number += 1
            time.sleep(0.002)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    time.sleep(0.1)
    server.restart()
    time.sleep(0.1)
    stop.set()
    for writer in writers:
        writer.join()
    assert [one.exception(timeout=30) for one in pending] == [None] * len(pending)
    assert len(ledger.attempts()) == len(pending)
    ledger.close()
