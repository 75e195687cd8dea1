"""Writers that are killed at any moment lose no row they were told of, and double none."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path

import pytest
from support.writers import processes, write_for_ever

from llmgate_plugins.ledger import open_ledger


def _acknowledged(told: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"open": set(), "settle": set(), "close": set()}
    for line in told.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # the last line may be cut
            kind, _, call_id = line.strip().partition(" ")
            found[kind].add(call_id)
    return found


def _wait_until_all_write(files: list[Path]) -> None:
    """Two calls each, of three rows: a busy machine may be slow to begin."""
    until = time.monotonic() + 60
    while not all(one.exists() and one.read_text().count("\n") >= 2 * 3 for one in files):
        assert time.monotonic() < until, "the writers do not write"
        time.sleep(0.01)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return f"{request.getfixturevalue('postgres_url')}?outbox={tmp_path}/outbox"


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=[pytest.mark.campaign])])
def test_no_acknowledged_row_is_lost_to_kill_9_and_none_is_doubled(
    url: str, tmp_path: Path, rounds: int
) -> None:
    chance = random.Random(20)
    told: list[Path] = []
    context = processes()
    for turn in range(rounds):
        names = [f"{turn}{letter}" for letter in "abc"]
        files = [tmp_path / f"told-{name}" for name in names]
        writers = [
            context.Process(target=write_for_ever, args=(url, name, one))
            for name, one in zip(names, files, strict=True)
        ]
        told += files
        try:
            for writer in writers:
                writer.start()
            _wait_until_all_write(files)
            for writer in chance.sample(writers, 3):
                time.sleep(chance.uniform(0.0, 0.15))
                writer.kill()
        finally:
            for writer in writers:
                writer.kill()
                writer.join()

    seen = {kind: set[str]() for kind in ("open", "settle", "close")}
    for one in told:
        found = _acknowledged(one)
        for kind, names_of_calls in seen.items():
            names_of_calls |= found[kind]
    assert len(seen["close"]) > 5 * rounds, "the writers hardly wrote"

    ledger = open_ledger(url)
    rows = ledger.attempts()
    status = {row["call_id"]: row["status"] for row in rows}
    assert len(rows) == len(status), "a row is doubled"
    assert seen["open"] <= status.keys()
    assert {status[call_id] for call_id in seen["settle"]} == {"success"}
    calls = [row["call_id"] for row in ledger.calls()]
    assert len(calls) == len(set(calls))
    assert seen["close"] <= set(calls)

    intents = [call_id for call_id, how in status.items() if how == "intent"]
    assert ledger.recover(older_than=0, now=2_000.0) == len(intents) > 0
    after = ledger.attempts()
    assert {row["status"] for row in after} == {"success", "unknown"}
    booked = {row["call_id"]: row["cost_nano_usd"] for row in after}
    assert {booked[call_id] for call_id in intents} == {70}
    assert sum(booked[call_id] for call_id in calls) == sum(row["cost_nano_usd"] for row in ledger.calls())
    ledger.close()
    if url.startswith("sqlite"):
        connection = sqlite3.connect(tmp_path / "books.db")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
