"""The ledger: how many rows a second are safe on disk, and what it takes from a call's own thread.

Its peers are what programs write down calls with that have no gateway: a line of JSON or a row for each
attempt, its end and its call, safe when the statement is over, as the ledger's are when it answers.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.core import ASKED, Instant, deployments
from benchmarks.harness import Case, Suite
from benchmarks.servers import postgresql
from llmgate_plugins import Gateway
from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.plugins import LedgerAccounting, default_plugins
from llmgate_plugins.promises import Promise
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Ledger, Settlement
from llmgate_plugins.types import Usage

__all__ = ["Books"]

BATCH = 500
"""Rows in one transaction of the bare inserts: as many as the ledger's writer puts in one."""
AT_ONCE = 3_000
"""Rows under way."""
BARE = """CREATE TABLE attempts (call_id TEXT, number INT, at REAL, alias TEXT, deployment TEXT,
provider TEXT, model TEXT, status TEXT, estimate INT, cost INT, input INT, output INT, team TEXT, tags TEXT,
PRIMARY KEY (call_id, number))"""


class Books(AbstractContextManager["Books"]):
    """Ledgers in a directory of their own, and what is measured of them."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._numbers = itertools.count()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def suites(self) -> list[Suite]:
        sqlite = self._ledger(f"sqlite:///{self._directory}/books.db")
        queued = self._ledger(f"sqlite:///{self._directory}/queued.db?durability=queued")
        postgres = self._ledger(f"{self._stack.enter_context(postgresql())}?outbox={self._directory}/outbox")
        none = [one for one in default_plugins() if not isinstance(one, LedgerAccounting)]
        gateways = {
            "no ledger": Gateway(deployments(), transport=Instant(), plugins=none, defaults=False),
            "in memory": Gateway(deployments(), transport=Instant()),
            "SQLite": Gateway(deployments(), transport=Instant(), ledger=sqlite),
            "SQLite, queued": Gateway(deployments(), transport=Instant(), ledger=queued),
            "PostgreSQL": Gateway(deployments(), transport=Instant(), ledger=postgres),
        }
        bare = self._bare("bare.db", "NORMAL")
        full = self._ledger(f"sqlite:///{self._directory}/full.db?durability=full")
        return [
            Suite(
                name="ledger, rows until they are in the database",
                unit="row",
                judged="wall",
                cases=(
                    Case(name=f"bare sqlite3, {BATCH} a commit", run=lambda rows: _insert(bare, rows, BATCH)),
                    Case(name="bare sqlite3, one a commit", run=lambda rows: _insert(bare, rows, 1)),
                    Case(name="SQLite, intents", run=lambda rows: _intents(sqlite, rows)),
                    Case(name="SQLite, whole calls", run=lambda calls: _calls(sqlite, calls), per=3),
                    Case(name="PostgreSQL, intents", run=lambda rows: _intents(postgres, rows)),
                    Case(name="PostgreSQL, whole calls", run=lambda calls: _calls(postgres, calls), per=3),
                ),
                rates=dict.fromkeys(("SQLite, intents", "SQLite, whole calls"), 20000.0),
            ),
            Suite(
                name="ledger and peers, three rows of a call until they are safe",
                unit="call",
                judged="wall",
                cases=(
                    Case(name="a line of JSON each", run=self._lines("lines.jsonl", None)),
                    Case(name="sqlite3, a commit each", run=self._commits("each.db", "NORMAL")),
                    Case(name="SQLite", run=lambda calls: _safely(sqlite, calls)),
                    Case(name="a line of JSON each, fsync", run=self._lines("synced.jsonl", os.fsync)),
                    Case(name="sqlite3, a commit each, full", run=self._commits("each-full.db", "FULL")),
                    Case(name="SQLite, full", run=lambda calls: _safely(full, calls)),
                ),
                targets={"SQLite": ("sqlite3, a commit each", 1.0)},
            ),
            Suite(
                name="ledger, a call's own thread",
                unit="call",
                judged="thread",
                cases=tuple(Case(name=name, run=_complete(one)) for name, one in gateways.items()),
                added_us=dict.fromkeys(("SQLite", "SQLite, queued"), ("no ledger", 15.0)),
            ),
            Suite(
                name="ledger, the loop of 64 calls at once",
                unit="call",
                judged="thread",
                cases=tuple(Case(name=name, run=_acomplete(one)) for name, one in gateways.items()),
                added_us=dict.fromkeys(("SQLite", "SQLite, queued"), ("no ledger", 15.0)),
            ),
        ]

    def _ledger(self, url: str) -> Ledger:
        ledger = open_ledger(url)
        self._stack.callback(ledger.close)
        return ledger

    def _lines(self, name: str, sync: Callable[[int], object] | None) -> Callable[[int], None]:
        file = (self._directory / name).open("ab", buffering=0)
        self._stack.callback(file.close)

        def run(calls: int) -> None:
            for number in range(calls * 3):
                row = dict(zip(_COLUMNS, (f"0199-bench-{number:012}", 1, 1.7e9, *_PLAIN), strict=True))
                file.write(json.dumps(row).encode() + b"\n")
                if sync is not None:
                    sync(file.fileno())

        return run

    def _commits(self, name: str, synchronous: str) -> Callable[[int], None]:
        connection = self._bare(name, synchronous)
        return lambda calls: _insert(connection, calls * 3, 1)

    def _bare(self, name: str, synchronous: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self._directory / name, isolation_level=None)
        self._stack.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(BARE)
        return connection


_COLUMNS = (
    *("call_id", "number", "at", "alias", "deployment", "provider", "model", "status", "estimate", "cost"),
    *("input", "output", "team", "tags"),
)
_PLAIN = ("fast", "openai-us", "openai", "gpt-4o-mini", "intent", 70, 0, 0, 0, "search", "{}")
_names = itertools.count()
_deployment = deployments()[0]


def _intent() -> AttemptIntent:
    return AttemptIntent(
        call_id=f"0199-bench-{next(_names):012}",
        number=1,
        at=1_700_000_000.0,
        deployment=_deployment,
        alias="fast",
        reason="first",
        estimate=70,
        labels={"team": "search"},
    )


def _intents(ledger: Ledger, rows: int) -> None:
    """As many at once as the ledger's queue takes without blocking anybody; all are in the database."""
    for start in range(0, rows, AT_ONCE):
        _wait([ledger.open_attempt(_intent()) for _ in range(min(AT_ONCE, rows - start))])
    ledger.flush()


def _calls(ledger: Ledger, calls: int) -> None:
    """Three writes each: an intent, its settlement, the call's own row."""
    for start in range(0, calls, AT_ONCE // 3):
        pending: list[Any] = []
        for _ in range(min(AT_ONCE // 3, calls - start)):
            intent = _intent()
            pending.append(ledger.open_attempt(intent))
            pending.append(ledger.settle_attempt(intent.call_id, 1, _SETTLED))
            pending.append(ledger.close_call(_record(intent.call_id)))
        _wait(pending)
    ledger.flush()


def _safely(ledger: Ledger, calls: int) -> None:
    """As an application would that waits for each row by itself."""
    for _ in range(calls):
        intent = _intent()
        _wait([ledger.open_attempt(intent)])
        _wait([ledger.settle_attempt(intent.call_id, 1, _SETTLED)])
        _wait([ledger.close_call(_record(intent.call_id))])


_SETTLED = Settlement(status="success", usage=Usage(input=12, output=3), cost=50, latency=0.5)


def _record(call_id: str) -> DecisionRecord:
    return DecisionRecord(call_id=call_id, model="fast", at=1_700_000_000.0, status="success", latency=0.5)


def _wait(pending: list[Any]) -> None:
    for one in pending:
        if isinstance(one, Promise):
            one.result()


def _insert(connection: sqlite3.Connection, rows: int, batch: int) -> None:
    for start in range(0, rows, batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO attempts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            [(f"0199-bench-{next(_names):012}", 1, 1.7e9, *_PLAIN) for _ in range(min(batch, rows - start))],
        )
        connection.execute("COMMIT")


def _complete(gateway: Gateway) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            gateway.complete("fast", ASKED)

    return run


def _acomplete(gateway: Gateway) -> Any:
    async def run(calls: int) -> None:
        left = itertools.count(calls, -1)

        async def work() -> None:
            while next(left) > 0:
                await gateway.acomplete("fast", ASKED)

        await asyncio.gather(*(work() for _ in range(64)))

    return run
