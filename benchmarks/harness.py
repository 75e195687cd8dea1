"""Interleaved rounds, medians and ratios: every contender meets the same noise."""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.yardstick import pace

__all__ = ["Case", "Result", "Suite", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One contender.

    Attributes:
        run: Does the thing `calls` times; a coroutine function runs on one event loop
            that is kept for the whole suite.
        per: How many units one call has (chunks of a stream).
    """

    name: str
    run: Callable[[int], Any] | Callable[[int], Awaitable[Any]]
    per: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Contenders that are compared with the first of them.

    Attributes:
        unit: What one unit is ("call", "chunk").
        judged: By what: CPU of this process, CPU of the calling thread alone, or wall time.
        targets: Case -> the highest ratio it should have to another case: (case, ratio).
        limits_us: Case -> the most microseconds per unit, by the yardstick.
        added_us: Case -> the most microseconds that it should add to another, by the yardstick:
            (case, microseconds).
        rates: Case -> the fewest units per second.
    """

    name: str
    unit: str
    cases: tuple[Case, ...]
    judged: Literal["cpu", "thread", "wall"] = "cpu"
    targets: dict[str, tuple[str, float]] = field(default_factory=dict)
    limits_us: dict[str, float] = field(default_factory=dict)
    added_us: dict[str, tuple[str, float]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Microseconds per unit: CPU of this process (or thread, as the suite says), and wall."""

    suite: str
    case: str
    unit: str
    judged: str
    cpu_us: float
    cpu_low_us: float
    wall_us: float
    ratio: float
    target: str = ""
    met: bool | None = None


def measure(suite: Suite, *, rounds: int, calls: int) -> list[Result]:
    """Run the suite: each round every case once, in turn, after one warm-up round."""
    cpu: dict[str, list[float]] = {case.name: [] for case in suite.cases}
    wall: dict[str, list[float]] = {case.name: [] for case in suite.cases}
    paces: list[float] = []
    clock = time.thread_time if suite.judged == "thread" else time.process_time
    with _tidy() as tidy_up, asyncio.Runner() as loop:
        for number in range(rounds + 1):
            turn = suite.cases if number % 2 else suite.cases[::-1]
            if number:
                paces.append(pace())
            for case in turn:
                tidy_up()
                took_cpu, took_wall = _once(case, calls, loop, clock)
                if number:
                    cpu[case.name].append(took_cpu / calls / case.per * 1e6)
                    wall[case.name].append(took_wall / calls / case.per * 1e6)
            if sys.stderr.isatty():
                print(f"\r{suite.name}: round {number}/{rounds} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return [_result(suite, case, cpu, wall, paces) for case in suite.cases]


@contextmanager
def _tidy() -> Iterator[Callable[[], None]]:
    """What to do before each turn, so that nobody is charged for another's garbage.

    What earlier turns have left to stay, a million rows in the end, is frozen: to go through it
    before every turn would take minutes.
    """

    def tidy_up() -> None:
        gc.collect()
        gc.freeze()

    usual = gc.get_threshold()
    gc.set_threshold(usual[0], usual[1], 10_000)  # none of all within a turn, as if it were not
    try:
        yield tidy_up
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _once(case: Case, calls: int, loop: asyncio.Runner, clock: Callable[[], float]) -> tuple[float, float]:
    run: Any = case.run
    cpu, wall = clock(), time.perf_counter()
    if asyncio.iscoroutinefunction(run):
        loop.run(run(calls))
    else:
        run(calls)
    return clock() - cpu, time.perf_counter() - wall


def _result(
    suite: Suite,
    case: Case,
    cpu: dict[str, list[float]],
    wall: dict[str, list[float]],
    paces: list[float],
) -> Result:
    judged = wall if suite.judged == "wall" else cpu
    own = judged[case.name]

    def ratio_to(other: str) -> float:
        """Median of the ratios within each round: noise that hits a round hits both."""
        return statistics.median(a / b for a, b in zip(own, judged[other], strict=True))

    target, met = "", None
    if case.name in suite.targets:
        other, most = suite.targets[case.name]
        found = ratio_to(other)
        target, met = f"{found:.2f}x {other}, at most {most:.2f}x", found <= most
    elif case.name in suite.added_us:
        other, most = suite.added_us[case.name]
        added = [a - b for a, b in zip(own, judged[other], strict=True)]
        found = _by_yardstick(added, paces)
        target = f"{found:+.1f} us by the yardstick above {other}, at most {most:.0f}"
        met = found <= most
    elif case.name in suite.limits_us:
        most = suite.limits_us[case.name]
        found = _by_yardstick(own, paces)
        target, met = f"{found:.1f} us by the yardstick, at most {most:.0f}", found <= most
    elif case.name in suite.rates:
        fewest, found = suite.rates[case.name], 1e6 / statistics.median(own)
        target, met = f"{found:,.0f} {suite.unit}s/s, at least {fewest:,.0f}", found >= fewest
    return Result(
        suite=suite.name,
        case=case.name,
        unit=suite.unit,
        judged=suite.judged,
        cpu_us=statistics.median(cpu[case.name]),
        cpu_low_us=min(cpu[case.name]),
        wall_us=statistics.median(wall[case.name]),
        ratio=ratio_to(suite.cases[0].name),
        target=target,
        met=met,
    )


def _by_yardstick(took: list[float], paces: list[float]) -> float:
    """Microseconds where targets were set: what a round took by how fast the machine was in it."""
    return statistics.median(one / pace for one, pace in zip(took, paces, strict=True))
