"""A database that restarts, stands still or dies holds no call up for long, and gets every row once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.gateways import deployment
from support.patience import until
from support.servers import PostgresServer

from llmgate_plugins import AllDeploymentsUnavailable, Gateway
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import LedgerAccounting
from llmgate_plugins.testing import ScriptedProvider

LONGEST = 3 * 2.5 + 10
"""Seconds a call may take: each of its three rows is held up for no more than 2.5."""


def a_restart(server: PostgresServer) -> None:
    server.restart()


def a_pause(server: PostgresServer) -> None:
    server.pause()
    time.sleep(2.0)
    server.resume()


def a_death(server: PostgresServer) -> None:
    server.kill()
    time.sleep(0.5)
    server.start()


@pytest.fixture
def url(fresh_postgres: PostgresServer, tmp_path: Path) -> str:
    return f"{fresh_postgres.database()}?outbox={tmp_path}/outbox"


@pytest.mark.parametrize("outage", [a_restart, a_pause, a_death], ids=lambda one: one.__name__)
def test_calls_go_on_through_an_outage_of_postgresql_and_every_row_is_there_once(
    fresh_postgres: PostgresServer, url: str, outage: Callable[[PostgresServer], None]
) -> None:
    ledger = SqlLedger(url)
    gateway = Gateway([deployment("a")], transport=ScriptedProvider(), ledger=ledger)
    over, took, ended = [], [], threading.Event()

    def work(name: str) -> None:
        while not ended.is_set():
            call_id = f"{name}-{len(over)}"
            begin = time.monotonic()
            gateway.complete("fast", "hello", call_id=call_id)
            took.append(time.monotonic() - begin)
            over.append(call_id)

    workers = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    until(lambda: len(over) > 20)
    before = len(over)
    outage(fresh_postgres)
    during = len(over)
    until(lambda: len(over) > during + 20)
    ended.set()
    for worker in workers:
        worker.join()
    assert 0 < before <= during < len(over)
    assert max(took) < LONGEST, "an answer was held up"
    until(lambda: not ledger.away)
    calls, attempts = ledger.calls(), ledger.attempts()
    assert sorted(row["call_id"] for row in calls) == sorted(over)
    assert sorted(row["call_id"] for row in attempts) == sorted(over)
    assert {row["status"] for row in attempts} == {"success"}
    assert sum(row["cost_nano_usd"] for row in attempts) == sum(row["cost_nano_usd"] for row in calls)
    assert not any(record.problems for record in gateway.decisions)
    ledger.close()


@pytest.mark.parametrize("required", [True, False])
def test_where_neither_database_nor_outbox_take_a_row_the_answer_says_so_or_the_record_does(
    tmp_path: Path, required: bool
) -> None:
    file = tmp_path / "books.db"
    (tmp_path / "no-directory").write_text("a file is in the way")
    ledger = SqlLedger(f"sqlite:///{file}?outbox={tmp_path}/no-directory/outbox")
    provider = ScriptedProvider()
    gateway = Gateway(
        [deployment("a")],
        transport=provider,
        ledger=ledger,
        plugins=[LedgerAccounting(required=required)],
    )
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    if required:
        with pytest.raises(AllDeploymentsUnavailable, match="ledger"):
            gateway.complete("fast", "hello")
        assert provider.sent == []
    else:
        assert gateway.complete("fast", "hello").text == "ok"
        assert {plugin for plugin, _, _ in gateway.decisions[-1].problems} == {"LedgerAccounting"}
    assert time.monotonic() - begin < LONGEST
    other.close()
    ledger.close()
