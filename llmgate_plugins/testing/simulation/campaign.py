"""Many seeds, spread over processes; and the file of seeds that once failed."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llmgate_plugins.testing.simulation.options import Options, Result, Violation
from llmgate_plugins.testing.simulation.run import simulate

__all__ = ["Summary", "campaign", "load_regressions", "run_one"]

CHUNK: Final = 8
"""Seeds that a process does before it reports: a second or so."""
MOST_FAILURES: Final = 100
"""Failing seeds that are kept whole."""


@dataclass(slots=True)
class Summary:
    """How many seeds went how.

    Attributes:
        seeds: How many were run.
        calls: How calls ended: status -> how many.
        sent: Requests that reached a simulated provider.
        seconds: Virtual seconds of all runs together.
        failures: The runs in which a promise did not hold, by seed; the first hundred.
        failed: How many those were in all.
    """

    seeds: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    seconds: float = 0.0
    failures: list[Result] = field(default_factory=list)
    failed: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything held in every run."""
        return not self.failed

    def add(self, result: Result) -> None:
        """Count one run."""
        self.seeds += 1
        self.calls.update(result.calls)
        self.sent += result.sent
        self.seconds += result.seconds
        if not result.ok:
            self.failed += 1
            self.failures.append(result)

    def merge(self, other: Summary) -> None:
        """Count those of another process."""
        self.seeds += other.seeds
        self.calls.update(other.calls)
        self.sent += other.sent
        self.seconds += other.seconds
        self.failed += other.failed
        self.failures = sorted(self.failures + other.failures, key=lambda one: one.seed)[:MOST_FAILURES]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "seeds": self.seeds,
            "failed": self.failed,
            "calls": dict(sorted(self.calls.items())),
            "sent": self.sent,
            "virtual_seconds": round(self.seconds, 3),
            "failures": [{**one.to_dict(), "replay": one.replay()} for one in self.failures],
        }


def campaign(
    seeds: Sequence[int],
    options: Options | None = None,
    *,
    processes: int | None = None,
    progress: Callable[[Summary], object] | None = None,
) -> Summary:
    """Run these seeds, spread over processes.

    Args:
        seeds: Any of them; a `range`, usually.
        options: The same for all.
        processes: Default: one for each processor. With 1, all is done in this process.
        progress: Told the summary so far, after every few seeds.
    """
    options, summary = options or Options(), Summary()
    chunks = [seeds[place : place + CHUNK] for place in range(0, len(seeds), CHUNK)]
    hands = min(processes or os.cpu_count() or 1, len(chunks))
    parts = (
        map(_run_chunk, ((chunk, options) for chunk in chunks))
        if hands <= 1
        else _spread(chunks, options, hands)
    )
    for part in parts:
        summary.merge(part)
        if progress is not None:
            progress(summary)
    return summary


def _spread(chunks: Iterable[Sequence[int]], options: Options, hands: int) -> Iterator[Summary]:
    """The parts as they are done. Never more handed out than the hands can soon take."""
    # Spawned, not forked: a program with threads cannot fork safely.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(hands, mp_context=context, initializer=_settle_down) as pool:
        waiting = iter(chunks)
        running: set[Future[Summary]] = set()
        try:
            while True:
                while len(running) < 2 * hands and (chunk := next(waiting, None)) is not None:
                    running.add(pool.submit(_run_chunk, (chunk, options)))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _settle_down() -> None:
    """What was imported stays: the collector need not look at it with every run."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _run_chunk(work: tuple[Sequence[int], Options]) -> Summary:
    summary = Summary()
    for seed in work[0]:
        summary.add(run_one(seed, work[1]))
    return summary


def run_one(seed: int, options: Options | None = None) -> Result:
    """One run; an error of the harness or the engine that comes through is a violation as well."""
    logging.getLogger("llmgate").disabled = True  # what it would say stands in the violations
    try:
        return simulate(seed, options)
    except Exception as error:  # noqa: BLE001 - whatever it is, the campaign goes on and tells the seed
        return Result(
            seed=seed,
            options=options or Options(),
            violations=(Violation("crash", 0.0, f"{type(error).__name__}: {error}"),),
            trace_hash="",
            calls={},
            sent=0,
            seconds=0.0,
        )


def load_regressions(path: Path) -> list[tuple[int, Options, str]]:
    """Seeds that once failed: (seed, options, what was wrong).

    Args:
        path: A JSON file: a list of `{"seed": ..., "options": {...}, "why": "..."}`.

    Raises:
        ValueError: It is not such a file.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        (int(row["seed"]), Options.parse(json.dumps(row.get("options", {}))), str(row["why"])) for row in rows
    ]
