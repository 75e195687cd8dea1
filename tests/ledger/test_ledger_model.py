"""Both ledgers against a model, for random orders of what can happen to calls."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.books import answer, intent, record, settlement

from llmgate_plugins.ledger import MemoryLedger, SqlLedger

CALLS = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(1, 3)
ENDS = st.sampled_from(["success", "error", "cancelled", "abandoned"])
Key = tuple[str, int]


class LedgerMachine(RuleBasedStateMachine):
    """Answers are looked at late or at once, so that rows also meet in one transaction.

    Another program may lock the file for a while; the process may end and begin again, also
    in the midst of that. What the books say after all is what they would have said anyway."""

    durability = "normal"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "books.db"
        self.lock: sqlite3.Connection | None = None
        self.memory, self.sql = MemoryLedger(), self.opened()
        self.now = 1_000.0
        self.rows: dict[Key, dict[str, Any]] = {}
        self.closed: dict[str, int] = {}
        self.pending: list[tuple[Any, Any]] = []

    def opened(self) -> SqlLedger:
        with mock.patch("llmgate_plugins.ledger.sqlite.PATIENCE", 0.02):
            return SqlLedger(f"sqlite:///{self.file}", durability=self.durability)

    @property
    def ledgers(self) -> tuple[MemoryLedger, SqlLedger]:
        return self.memory, self.sql

    def teardown(self) -> None:
        self.unlock()
        self.sql.close()
        self.folder.cleanup()

    def unlock(self) -> None:
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    @precondition(lambda self: self.lock is None)
    @rule()
    def another_program_locks_the_file(self) -> None:
        self.look()
        self.lock = sqlite3.connect(self.file, isolation_level=None)
        self.lock.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.lock is not None)
    @rule()
    def it_lets_go(self) -> None:
        self.look()
        self.unlock()

    @rule()
    def the_process_ends_and_another_begins(self) -> None:
        self.look()
        self.sql.close()
        if self.lock is None:
            self.sql = self.opened()
        else:
            self.unlock()
            self.sql = self.opened()

    @rule(call_id=CALLS, number=NUMBERS, estimate=st.integers(0, 100))
    def open(self, call_id: str, number: int, estimate: int) -> None:
        for ledger in self.ledgers:
            self.pending.append(
                (ledger.open_attempt(intent(call_id, number, at=self.now, estimate=estimate)), None)
            )
        fresh = {"status": "intent", "cost": 0, "estimate": estimate, "at": self.now}
        self.rows.setdefault((call_id, number), fresh)

    @rule(call_id=CALLS, number=NUMBERS, status=ENDS, cost=st.integers(0, 100))
    def settle(self, call_id: str, number: int, status: str, cost: int) -> None:
        row = self.rows.get((call_id, number))
        expected = row is not None and row["status"] in ("intent", "unknown")
        self.pending.append((self.memory.settle_attempt(call_id, number, settlement(status, cost)), expected))
        # The outbox takes everything; who was first shows when it gets into the books.
        told = expected if self.lock is None and self.durability == "full" else True
        self.pending.append((self.sql.settle_attempt(call_id, number, settlement(status, cost)), told))
        if row is not None and expected:
            row |= {"status": status, "cost": cost}

    @rule(call_id=CALLS)
    def close(self, call_id: str) -> None:
        costs = tuple(row["cost"] for (name, _), row in self.rows.items() if name == call_id)
        for ledger in self.ledgers:
            self.pending.append((ledger.close_call(record(call_id, costs)), None))
        self.closed.setdefault(call_id, sum(costs))

    @precondition(lambda self: self.lock is None)
    @rule(older_than=st.integers(0, 20))
    def recover(self, older_than: int) -> None:
        old = [
            row
            for row in self.rows.values()
            if row["status"] == "intent" and row["at"] < self.now - older_than
        ]
        for row in old:
            row |= {"status": "unknown", "cost": row["estimate"]}
        for ledger in self.ledgers:
            assert ledger.recover(older_than=older_than, now=self.now) == len(old)

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def look(self) -> None:
        for pending, expected in self.pending:
            assert answer(pending) is expected
        self.pending.clear()

    @precondition(lambda self: not self.pending and self.lock is None)
    @invariant()
    def ledgers_and_model_agree(self) -> None:
        memory, sql = self.ledgers
        assert memory.attempts() == sql.attempts()
        assert memory.calls() == sql.calls()
        found = {
            (row["call_id"], row["number"]): (row["status"], row["cost_nano_usd"]) for row in sql.attempts()
        }
        assert found == {key: (row["status"], row["cost"]) for key, row in self.rows.items()}
        assert {row["call_id"]: row["cost_nano_usd"] for row in sql.calls()} == self.closed


class WaitingMachine(LedgerMachine):
    """The same where an answer is there when the database has the row."""

    durability = "full"


TestLedgers = LedgerMachine.TestCase
TestWaitingLedgers = WaitingMachine.TestCase
TestLedgers.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestWaitingLedgers.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
