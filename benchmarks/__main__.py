"""`python -m benchmarks [--json] [--smoke] [--only core,books,state]`.

Medians over interleaved rounds, CPU time of this process before wall time, ratios within
a round; where a suite is judged by the calling thread's CPU or by wall time, it says so.
Targets in microseconds hold for one machine; by the yardstick (`benchmarks.yardstick`) means
what it would have taken there.
Targets are reported, never asserted: these are measurements, not tests.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from typing import Any

from benchmarks.harness import Result, Suite, measure

PARTS = ("core", "choosing", "records", "langchain", "http", "books", "reports", "state", "memory", "imports")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="data instead of tables")
    parser.add_argument("--smoke", action="store_true", help="one short round: does everything run?")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    asked = parser.parse_args()
    parts = asked.only.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(PARTS)}")
    os.environ["LANGSMITH_TRACING"] = "false"
    results: list[Result] = []
    for part in parts:
        results += _run(part, asked.smoke)
    imports: list[dict[str, Any]] = []
    if "imports" in parts:
        from benchmarks.imports import measure_imports

        imports = measure_imports(1 if asked.smoke else 7)
    reports: dict[str, Any] | None = None
    if "reports" in parts:
        from benchmarks.month import measure_reports

        reports = measure_reports(2_000 if asked.smoke else 1_000_000)
    growth: dict[str, Any] | None = None
    if "memory" in parts:
        from benchmarks.growth import measure_growth

        growth = measure_growth(5_000 if asked.smoke else 1_000_000)
    if asked.json:
        print(json.dumps(_as_data(results, imports, growth, reports), indent=1))
    else:
        _print(results, imports, growth, reports)
    return 0


def _run(part: str, smoke: bool) -> list[Result]:
    if part == "records":
        from benchmarks.records import suites as records

        return _measured(records(), rounds=1 if smoke else 15, calls=20 if smoke else 2000, chunked=50)
    if part == "core":
        from benchmarks.core import suites as core

        return _measured(core(), rounds=1 if smoke else 15, calls=20 if smoke else 1000, chunked=50)
    if part == "choosing":
        from benchmarks.choosing import suites as choosing

        return _measured(choosing(), rounds=1 if smoke else 15, calls=20 if smoke else 300, chunked=20)
    if part == "langchain":
        from benchmarks.in_langchain import suites as langchain

        return _measured(langchain(), rounds=1 if smoke else 15, calls=10 if smoke else 300, chunked=20)
    if part == "state":
        from benchmarks.servers import redis
        from benchmarks.state import suites as state

        with redis() as server:
            return _measured(state(server), rounds=1 if smoke else 9, calls=64 if smoke else 640, chunked=20)
    if part == "http":
        from benchmarks.over_http import suites as http
        from benchmarks.server import answering_server

        with answering_server() as url:
            return _measured(http(url), rounds=1 if smoke else 9, calls=3 if smoke else 60, chunked=20)
    if part == "books":
        from benchmarks.books import Books

        with Books() as books:
            rows, *calls = books.suites()
            found = measure(rows, rounds=1 if smoke else 5, calls=200 if smoke else 1_500)
            for suite in calls:
                found += measure(suite, rounds=1 if smoke else 5, calls=20 if smoke else 200)
            return found
    return []


def _measured(suites: list[Suite], *, rounds: int, calls: int, chunked: int) -> list[Result]:
    found: list[Result] = []
    for suite in suites:
        found += measure(suite, rounds=rounds, calls=calls if suite.unit == "call" else min(chunked, calls))
    return found


def _as_data(
    results: list[Result],
    imports: list[dict[str, Any]],
    growth: dict[str, Any] | None,
    reports: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "results": [dataclasses.asdict(result) for result in results],
        "imports": imports,
        "memory": growth,
        "reports": reports,
    }


def _print(
    results: list[Result],
    imports: list[dict[str, Any]],
    growth: dict[str, Any] | None,
    reports: dict[str, Any] | None,
) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    suite = ""
    for one in results:
        if one.suite != suite:
            suite = one.suite
            by = {"cpu": "", "thread": ", CPU of the calling thread", "wall": ", judged by wall time"}
            print(f"\n{suite} (per {one.unit}{by[one.judged]})")
            print(f"  {'':<28}{'CPU us':>9}{'lowest':>9}{'wall us':>9}{'ratio':>7}  target")
        print(
            f"  {one.case:<28}{one.cpu_us:>9.1f}{one.cpu_low_us:>9.1f}{one.wall_us:>9.1f}{one.ratio:>7.2f}"
            f"  {_verdict(one.target, one.met)}".rstrip()
        )
    if reports is not None:
        print(f"\nreports over {reports['attempts']:,} attempts in SQLite")
        print(f"  {'':<28}{'CPU s':>9}{'wall s':>9}  target")
        for row in reports["reports"]:
            verdict = _verdict(f"at most {reports['target_s']:g} s", row["met"])
            print(f"  by {row['by']:<25}{row['cpu_s']:>9.2f}{row['wall_s']:>9.2f}  {verdict}".rstrip())
    if growth is not None:
        print("\nmemory (fresh interpreter)")
        verdict = _verdict(f"at most {growth['target_mib']:+.0f} MiB", growth["met"])
        print(f"  {growth['calls']:,} calls: {growth['growth_mib']:+.1f} MiB  {verdict}")
    if imports:
        print("\nimport (fresh interpreter)")
        print(f"  {'':<38}{'CPU ms':>8}{'MB':>7}{'added':>8}  target")
    for row in imports:
        added = "" if row["added_ms"] is None else f"{row['added_ms']:+.0f}"
        target = "" if row["target_ms"] is None else f"at most {row['target_ms']:+.0f} ms"
        print(
            f"  {row['import']:<38}{row['cpu_ms']:>8.0f}{row['rss_mb']:>7.0f}{added:>8}"
            f"  {_verdict(target, row['met'])}".rstrip()
        )


def _verdict(target: str, met: bool | None) -> str:
    return f"{'met' if met else 'MISSED'}: {target}" if target else ""


if __name__ == "__main__":
    sys.exit(main())
