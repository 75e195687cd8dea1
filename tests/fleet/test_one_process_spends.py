"""Two hundred tasks, or 32 threads, or both at once never spend more than a budget has, nor much less."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.spending import KEY, WINDOW, WORST, Bills, Spending, billed, spend_through

from llmgate_plugins.ledger import open_ledger
from llmgate_plugins.state import MemoryState

CAP = 20 * WORST


@pytest.mark.parametrize("books", ["memory", "sqlite"])
@pytest.mark.parametrize(("tasks", "threads"), [(200, 0), (0, 32), (50, 8)])
def test_one_process_never_overspends(tmp_path: Path, tasks: int, threads: int, books: str) -> None:
    state = MemoryState()
    ledger = open_ledger("memory" if books == "memory" else f"sqlite:///{tmp_path}/books.db")
    how = Spending(
        state="memory",
        ledger="",
        cap=CAP,
        tasks=tasks,
        threads=threads,
        until=time.monotonic() + 20,
        over=lambda: state.spent(KEY, window=WINDOW)[0] > CAP - WORST,
    )
    bills = Bills(tmp_path / "bills", how.takes)
    spend_through(how.gateway(bills, state, ledger), how)
    bills.close()
    sent = billed([tmp_path / "bills"])
    assert CAP - WORST <= sum(sent.values()) <= CAP
    rows = {(row["call_id"], row["number"]): row for row in ledger.attempts()}
    assert {key: row["cost_nano_usd"] for key, row in rows.items() if row["status"] == "success"} == sent
    assert {row["status"] for row in rows.values()} <= {"success", "skipped"}
    assert sum(row["cost_nano_usd"] for row in ledger.calls()) == sum(sent.values())
    assert state.spent(KEY, window=WINDOW) == (sum(sent.values()), 0)
    ledger.close()
