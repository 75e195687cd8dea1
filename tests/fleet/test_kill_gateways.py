"""Gateways killed at any moment lose no row they relied on, double none, and leave what recovery ends."""

from __future__ import annotations

import random
import sqlite3
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from support.dying import PHASES, call_until_killed, open_and_die, told
from support.writers import processes

from llmgate_plugins.ledger import open_ledger

CAMPAIGN = [pytest.mark.campaign, pytest.mark.timeout(0)]


def run_and_kill(url: str, files: Path, rounds: int, seed: int) -> list[Path]:
    """Rounds of 4 to 8 gateways on one ledger, each killed in a phase of its own; the files they told in."""
    chance = random.Random(seed)
    context = processes()
    all_files: list[Path] = []
    phases = [phase for phase in PHASES for _ in range(2)]
    for turn in range(rounds):
        gateways, told_in = [], []
        for number in range(chance.randint(4, 8)):
            phase = phases[(turn * 5 + number) % len(phases)]
            file = files / f"told-{turn}-{number}"
            after = chance.randint(0, 200 if phase == "in a transaction" else 60)
            gateways.append(
                context.Process(target=call_until_killed, args=(url, f"{turn}-{number}", file, phase, after))
            )
            told_in.append(file)
        all_files += told_in
        try:
            for process in gateways:
                process.start()
            until = time.monotonic() + 60
            while not all(_works_or_is_dead(*one) for one in zip(gateways, told_in, strict=True)):
                assert time.monotonic() < until, "the gateways do not call"
                time.sleep(0.01)
            time.sleep(chance.uniform(0.1, 0.4))
        finally:
            for process in gateways:
                process.kill()
                process.join()
    return all_files


def _works_or_is_dead(process: BaseProcess, file: Path) -> bool:
    return not process.is_alive() or (file.exists() and file.stat().st_size > 0)


def check_books(url: str, files: list[Path]) -> int:
    """Whether the books have all that any process relied on, once; how many calls those were."""
    sent: set[tuple[str, int]] = set()
    over: dict[str, int] = {}
    for file in files:
        of_one = told(file)
        sent |= of_one[0]
        over |= of_one[1]
    ledger = open_ledger(url)
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
    return len(over)


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=CAMPAIGN)])
def test_gateways_killed_in_every_phase_keep_their_books_on_sqlite(tmp_path: Path, rounds: int) -> None:
    file = tmp_path / "books.db"
    url = f"sqlite:///{file}"
    files = run_and_kill(url, tmp_path, rounds, seed=5)
    assert check_books(url, files) > 30 * rounds
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_ledger_whose_first_opener_is_killed_is_opened_by_the_next(tmp_path: Path) -> None:
    context = processes()
    url = f"sqlite:///{tmp_path}/new.db"
    for statements in range(12):
        (tmp_path / "new.db").unlink(missing_ok=True)
        dying = [context.Process(target=open_and_die, args=(url, statements)) for _ in range(2)]
        for process in dying:
            process.start()
        for process in dying:
            process.join()
        ledger = open_ledger(url)
        assert ledger.attempts() == []
        ledger.close()
