"""`python -m llmgate_plugins.testing.simulation`: many seeds with a progress bar, and what failed."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from llmgate_plugins.testing.simulation.campaign import Summary, campaign, run_one
from llmgate_plugins.testing.simulation.options import Options, Result

__all__ = ["main"]

WIDTH = 79
DOTS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 1 if a promise did not hold, else 0."""
    given = _parser().parse_args(arguments)
    options: Options = given.options
    if given.trace:
        return _trace(given.first, options)
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    with _progress(len(seeds), sys.stderr) as progress:
        summary = campaign(seeds, options, processes=given.processes, progress=progress)
    if given.json:
        json.dump(summary.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _tell(summary, time.monotonic() - began, sys.stdout)
    return 0 if summary.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llmgate_plugins.testing.simulation",
        description="Simulate gateways, providers and callers on virtual time, one world for each "
        "seed, and check every invariant. Exit code 1 if one did not hold.",
    )
    parser.add_argument("--seeds", type=_count, default=1_000, help="how many; default 1000")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the first; default 0")
    parser.add_argument(
        "--options", type=Options.parse, default=Options(), metavar="JSON", help="such as '{\"calls\": 50}'"
    )
    parser.add_argument("--processes", type=_count, default=None, help="default: one for each processor")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    parser.add_argument("--trace", action="store_true", help="run the first seed only, and show all of it")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def _trace(seed: int, options: Options) -> int:
    from dataclasses import replace

    result = run_one(seed, replace(options, trace=True))
    for line in result.trace:
        sys.stdout.write(line + "\n")
    _tell_failure(result, sys.stdout)
    return 0 if result.ok else 1


def _tell(summary: Summary, seconds: float, out: TextIO) -> None:
    calls = sum(summary.calls.values())
    ends = ", ".join(f"{count:,} {status}" for status, count in summary.calls.most_common())
    for result in summary.failures[:10]:
        _tell_failure(result, out)
    told = (
        f"{summary.seeds:,} seeds, {calls:,} calls ({ends}), {summary.sent:,} requests to providers, "
        f"{summary.seconds / 3600:,.0f} simulated hours in {seconds:,.0f} s."
    )
    verdict = f"{summary.failed:,} seeds failed." if summary.failed else "Every invariant held in every seed."
    for line in (told, verdict):
        out.write(textwrap.fill(line, WIDTH) + "\n")


def _tell_failure(result: Result, out: TextIO) -> None:
    if result.ok:
        return
    out.write(f"seed {result.seed}: {len(result.violations)} violations\n")
    for one in result.violations[:5]:
        out.write(textwrap.fill(str(one), WIDTH, initial_indent="  ", subsequent_indent="      ") + "\n")
    out.write(f"  again: {result.replay()} --trace\n")


@contextmanager
def _progress(total: int, out: TextIO) -> Iterator[Callable[[Summary], None]]:
    """A bar where rich is installed and a person looks on; else up to 60 dots."""
    if out.isatty():
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            pass
        else:
            columns = (
                TextColumn("seeds"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[failed]} failed"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=Console(file=out)) as bar:
                task = bar.add_task("seeds", total=total, failed=0)
                yield lambda summary: bar.update(task, completed=summary.seeds, failed=summary.failed)
            return
    shown = 0

    def dots(summary: Summary) -> None:
        nonlocal shown
        due = DOTS * summary.seeds // total
        out.write("." * (due - shown))
        out.flush()
        shown = due

    yield dots
    out.write("\n")
