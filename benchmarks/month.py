"""Books of a month, made fast: a ledger's file with as many rows as a report shall be measured over."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["BEGIN", "DAYS", "make_rows", "measure_reports"]

BEGIN = 1_793_491_200.0
"""2026-11-01 00:00 UTC."""
DAYS = 30

_DEPLOYMENTS = [
    # id, alias, provider, model, region, seconds, nano-dollars per token in and out
    ("openai-us", "fast", "openai", "gpt-4o-mini", "us", 0.9, (150, 600)),
    ("openai-eu", "fast", "openai", "gpt-4o-mini", "eu", 1.1, (150, 600)),
    ("claude-us", "fast", "anthropic", "claude-haiku-4-5", "us", 1.3, (1_000, 5_000)),
    ("claude-strong", "strong", "anthropic", "claude-sonnet-4-5", "us", 2.6, (3_000, 15_000)),
    ("gemini-eu", "strong", "google", "gemini-2.5-pro", "eu", 2.1, (1_250, 10_000)),
]
_TEAMS = ["search", "mail", "support", "billing", "research", "growth", "legal", "mobile"]
_FEATURES = ["ranking", "summary", "chat", "triage"]
_FAILURES = ["rate_limit", "rate_limit", "timeout", "server", "overloaded", "connection"]


def make_rows(path: Path, attempts: int = 1_000_000, *, seed: int = 1) -> int:
    """Make an SQLite ledger with so many attempts in the month from `BEGIN` on; how many calls they are of.

    About one attempt of twenty fails and is followed by another. A file of a million attempts
    takes about a minute and two gigabytes.

    Args:
        path: The file; it must not exist.
        attempts: How many rows that table gets, or one more.
    """
    from llmgate_plugins.ledger import SqlLedger
    from llmgate_plugins.ledger.schema import attempts as attempts_table
    from llmgate_plugins.ledger.schema import calls as calls_table

    SqlLedger(f"sqlite:///{path}").close()
    of_attempts, of_calls = list(attempts_table.c.keys()), list(calls_table.c.keys())
    calls = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for some in _chunks(_calls(attempts, random.Random(seed)), 20_000):
            connection.execute("BEGIN")
            _insert(connection, "attempts", of_attempts, [row for _, rows in some for row in rows])
            _insert(connection, "calls", of_calls, [call for call, _ in some])
            connection.execute("COMMIT")
            calls += len(some)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return calls


def measure_reports(attempts: int) -> dict[str, Any]:
    """How long reports over a month of so many attempts take, as whoever asks sees it; the best of three."""
    from llmgate_plugins.insight import read_report

    target = 3.0
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "month.db")
        make_rows(path, attempts)
        for by in ("model", "team", "tag:job", "day", "team,model"):
            best = (math.inf, math.inf)
            for _ in range(3):
                cpu, wall = time.process_time(), time.perf_counter()
                read_report(f"sqlite:///{path}", by=by)
                took = time.process_time() - cpu, time.perf_counter() - wall
                best = min(best[0], took[0]), min(best[1], took[1])
            rows.append({"by": by, "cpu_s": best[0], "wall_s": best[1], "met": best[1] <= target})
    return {"attempts": attempts, "target_s": target, "reports": rows}


def _insert(
    connection: sqlite3.Connection, table: str, columns: list[str], rows: list[dict[str, Any]]
) -> None:
    columns = [column for column in columns if column in rows[0]]
    marks = ", ".join("?" * len(columns))
    names = ", ".join(f'"{column}"' for column in columns)
    connection.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({marks})", [tuple(map(row.get, columns)) for row in rows]
    )


def _chunks(calls: Iterator[Any], size: int) -> Iterator[list[Any]]:
    chunk = []
    for one in calls:
        chunk.append(one)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    yield chunk


def _calls(attempts: int, chance: random.Random) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Calls, oldest first, each with its attempts."""
    step = DAYS * 86_400 / attempts
    made = 0
    while made < attempts:
        at = BEGIN + made * step
        call_id = f"{int(at * 1000):012x}-7{chance.getrandbits(12):03x}-{chance.getrandbits(64):016x}"
        who = _who(chance)
        rows = []
        while True:
            where = _DEPLOYMENTS[chance.getrandbits(8) % len(_DEPLOYMENTS)]
            rows.append(_attempt(call_id, len(rows) + 1, at, where, who, chance))
            at += rows[-1]["latency_s"]
            if rows[-1]["status"] == "success" or len(rows) == 4:
                break
        made += len(rows)
        yield _call(call_id, who, rows), rows


def _who(chance: random.Random) -> dict[str, Any]:
    # Squared, so that some are much busier than others.
    team = int(chance.random() ** 2 * len(_TEAMS))
    return {
        "tenant": "acme" if team < 5 else "umbrella",
        "team": _TEAMS[team],
        "project": f"{_TEAMS[team]}-{chance.getrandbits(1)}",
        "user_id": f"user-{chance.getrandbits(10)}",
        "feature": _FEATURES[chance.getrandbits(2)],
        "environment": "production",
        "policy": "default",
        "policy_version": "3",
        "priority": 1,
        "tags": json.dumps({"job": f"job-{chance.getrandbits(4)}", "step": "answer"}),
        "extra": "{}",
        "operation": "chat",
        "stream": chance.random() < 0.5,
        "estimated": False,
    }


def _attempt(
    call_id: str, number: int, at: float, where: tuple[Any, ...], who: dict[str, Any], chance: random.Random
) -> dict[str, Any]:
    name, alias, provider, model, region, seconds, (per_input, per_output) = where
    failed = chance.random() < 0.05
    latency = seconds * math.exp(chance.gauss(0.0, 0.6)) * (0.2 if failed else 1.0)
    read, cached = chance.getrandbits(11), chance.getrandbits(10)
    written = 0 if failed else chance.getrandbits(9)
    cost = 0 if failed else read * per_input + cached * per_input // 10 + written * per_output
    return {
        **who,
        "call_id": call_id,
        "number": number,
        "at": at,
        "settled_at": at + latency,
        "requested_model": alias,
        "alias": alias,
        "deployment": name,
        "provider": provider,
        "model": model,
        "served_model": None if failed else model,
        "region": region,
        "credential": "k-1f3a",
        "reason": "first" if number == 1 else "next_deployment",
        "decision_id": f"{call_id}.1",
        "status": "error" if failed else "success",
        "late": False,
        "error_class": chance.choice(_FAILURES) if failed else None,
        "finish_reason": None if failed else "stop",
        "input_tokens": 0 if failed else read,
        "cached_input_tokens": 0 if failed else cached,
        "cache_write_tokens": 0,
        "output_tokens": written,
        "reasoning_tokens": 0,
        "estimate_nano_usd": 1_000_000,
        "reserve_nano_usd": 2_000_000,
        "reserve_tokens": 4_096,
        "cost_nano_usd": cost,
        "price_source": "litellm",
        "price_as_of": "2026-11-01",
        "latency_s": latency,
        "first_token_s": latency * 0.3 if who["stream"] and not failed else None,
    }


def _call(call_id: str, who: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    last = rows[-1]
    won = last["status"] == "success"
    tokens = ("input", "cached_input", "cache_write", "output", "reasoning")
    return {
        **who,
        "call_id": call_id,
        "at": rows[0]["at"],
        "model": rows[0]["alias"],
        "status": last["status"],
        "served_by": last["deployment"] if won else None,
        "served_provider": last["provider"] if won else None,
        "served_model": last["served_model"],
        "served_alias": last["alias"] if won else None,
        "first_deployment": rows[0]["deployment"],
        "attempts": len(rows),
        **{f"{bucket}_tokens": sum(row[f"{bucket}_tokens"] for row in rows) for bucket in tokens},
        "cost_nano_usd": sum(row["cost_nano_usd"] for row in rows),
        "latency_s": sum(row["latency_s"] for row in rows),
        "first_token_s": last["first_token_s"],
        "reason": "",
        "error_class": last["error_class"],
        "problems": "[]",
        "decision": _DECISION,
    }


_DECISION = json.dumps({"as long as": "a decision record of a call with one attempt" * 24})


if __name__ == "__main__":
    began = time.perf_counter()
    number = make_rows(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    print(f"{number} calls in {time.perf_counter() - began:.0f} s")
