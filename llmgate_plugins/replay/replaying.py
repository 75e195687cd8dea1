"""Runs recorded calls through another configuration, and compares."""

from __future__ import annotations

import time
from asyncio import events
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final

from llmgate_plugins.config import GatewayConfig, load_config
from llmgate_plugins.insight.books import Books, open_books
from llmgate_plugins.insight.conditions import Condition, Where, conditions_of
from llmgate_plugins.insight.spans import Moment, Span, span_of
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.replay.books import ReplayLedger
from llmgate_plugins.replay.recorded import RecordedCall, count_calls, read_calls
from llmgate_plugins.replay.result import Replay
from llmgate_plugins.replay.running import Run, begins_at
from llmgate_plugins.services import Ledger
from llmgate_plugins.virtual_time import run_virtually

__all__ = ["replay"]

WARM_UP: Final = 3600.0
"""Seconds before the span that are replayed as well, so that breakers and averages stand as they did."""


def replay(
    ledger: Ledger | str,
    config: str | Path | Mapping[str, Any] | GatewayConfig,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    zone: str = "UTC",
    where: Where = (),
    seed: int = 0,
    warm_up: float = WARM_UP,
    plugins: Iterable[object] = (),
    each: Callable[[DecisionRecord, DecisionRecord], None] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    now: float | None = None,
) -> Replay:
    """Run the calls that a ledger has through the policies of a configuration.

    The gateway is the real one, with its plugins, on virtual time, each call at its own moment;
    providers answer from the books. See docs/explanation/replay.md for what is exact.
    Called in an event loop that runs, a notebook's say, it works in a thread while the loop waits.

    Args:
        ledger: A gateway's, or the URL of one in a database. Nothing is written to it.
        config: Deployments, policies, limits: what the calls are run through. Its secrets are
            not looked up, and its own ledger, state and alerts are left alone.
        since, until: The span, half-open: "7d", "2026-11-01", a `datetime`, Unix time, ...
        zone: IANA name: where days begin in the span.
        where: Conditions that must all hold of a call: ["team=search"]. Calls that are left out
            are not there for budgets and breakers either.
        seed: Of what has to be drawn: how deployments would have done that were not asked.
        warm_up: Seconds before the span that are replayed as well, and not counted.
        plugins: The application's own, run before those of the configuration.
        each: Told (record then, record now) of each call within the span.
        progress: Told (calls begun, calls in all, Unix time of the last).
        now: Unix time that durations are counted back from; None for the machine's clock.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: The configuration has a mistake, or there is no such ledger.
        StorageError: The ledger could not be read.
    """
    read = config if isinstance(config, GatewayConfig) else load_config(config)
    span = span_of(since, until, now=time.time() if now is None else now, zone=zone)
    conditions = conditions_of(where)
    for one in conditions:
        if not one.of_calls:
            raise ValueError(f"{one} is of attempts; a replay chooses calls: team=search, policy=vip")
    if not warm_up >= 0:
        raise ValueError(f"warm_up must be at least 0 seconds, not {warm_up!r}")
    result = Replay(since=span.since, until=span.until, seed=seed)

    def work() -> None:
        with open_books(ledger, decisions=True) as books:
            _run(read, books, span, conditions, warm_up, result, plugins, each, progress)

    if events._get_running_loop() is None:
        work()
    else:
        with ThreadPoolExecutor(1, "llmgate-replay") as threads:
            threads.submit(copy_context().run, work).result()
    return result


def _run(
    config: GatewayConfig,
    books: Books,
    span: Span,
    conditions: tuple[Condition, ...],
    warm_up: float,
    result: Replay,
    plugins: Iterable[object],
    each: Callable[[DecisionRecord, DecisionRecord], None] | None,
    progress: Callable[[int, int, float], None] | None,
) -> None:
    start = None if span.since is None else span.since - warm_up
    total, first = count_calls(books, span, start, conditions)
    if first is None:
        return
    run = Run(
        config,
        result,
        each=each,
        progress=None if progress is None else lambda begun, at: progress(begun, total, at),
        plugins=plugins,
    )
    batches: Iterator[list[RecordedCall]] = read_calls(books, span, start, conditions)
    offset, reading = begins_at(first)
    ledger = ReplayLedger(books, first)
    run_virtually(lambda loop: run.main(loop, offset, batches, ledger), start=reading)
