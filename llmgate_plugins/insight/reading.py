"""Reads reports from the books: exact figures, by a few statements, two at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import func, select

from llmgate_plugins.insight.books import Books, open_books
from llmgate_plugins.insight.buckets import TIMES, bounds_of, name_of
from llmgate_plugins.insight.conditions import Where
from llmgate_plugins.insight.counting import Key, Reader
from llmgate_plugins.insight.question import Question
from llmgate_plugins.insight.report import Level, Report, ReportRow
from llmgate_plugins.insight.spans import Moment, Span, span_of
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.services import Ledger, ShadowCalls

__all__ = ["read_report"]


def read_report(
    ledger: Ledger | str,
    *,
    by: str | Sequence[str] = ("model",),
    since: Moment | None = None,
    until: Moment | None = None,
    zone: str = "UTC",
    where: Where = (),
    of: Level | None = None,
    shadow_calls: ShadowCalls = "without",
    now: float | None = None,
) -> Report:
    """Read a report from a ledger.

    Args:
        ledger: A gateway's (`gateway.services.ledger`), or the URL of one in a database.
        by: Dimensions: "model", "served_model", "provider", "deployment", "region", "alias",
            "route" (the alias asked for), "policy", "reason", "error_class", "tenant", "team",
            "user", ..., "tag:NAME", "extra:NAME", and "hour", "day", "week" or "month".
            Empty for the totals alone.
        since, until: The span, half-open: "7d", "2026-11-01", a `datetime`, Unix time, ...
        zone: IANA name: where days begin, for `by` as for the span.
        where: Conditions that must all hold: `["team=search,mail", "cost>0.01"]`, or
            `{"team": "search"}`.
        of: Whether requests are "calls" or "attempts"; None for calls where everything the
            report is about is a fact of calls.
        shadow_calls: Whether calls that are shadows of others count: "without", "with" or "only".
        now: Unix time that durations are counted back from; None for the machine's clock.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    question = Question.of(by, where, of, zone, shadow_calls)
    span = span_of(since, until, now=time.time() if now is None else now, zone=zone)
    with open_books(ledger) as books, books.beside() as beside:
        answer = _Answer(question, span, books, beside)
        rows, totals = answer.read()
    return Report(
        by=question.by,
        of=question.level,
        since=span.since,
        until=span.until,
        zone=zone,
        where=tuple(map(str, question.conditions)),
        shadow_calls=question.shadow_calls,
        rows=rows,
        totals=totals,
    )


class _Answer:
    """Asks the statements and puts together what they say."""

    def __init__(self, question: Question, span: Span, books: Books, beside: Books | None) -> None:
        self._question = question
        self._books = books
        self._beside = beside
        self._span = self._narrowed(span)
        first = max(self._first, self._span.since or self._first)
        last = min(self._last, self._span.until or self._last)
        self._times = {
            name: bounds_of(name, question.zone, first, last) for name in TIMES if name in question.by
        }

    def read(self) -> tuple[tuple[ReportRow, ...], ReportRow]:
        level = self._question.level
        found, other = self._reader(self._books), self._reader(self._beside or self._books)
        calls = other.read_calls if self._question.calls_know else other.read_calls_of_attempts
        # The statement with the quantiles takes longest; the others are read beside it.
        mine, others = [found.read_attempts], [calls]
        if level == "calls":
            mine.append(found.read_unusual)
        else:
            others.append(other.read_unusual)
        if self._beside is None:
            _run((*mine, *others))
        else:
            with ThreadPoolExecutor(1, "llmgate-report") as thread:
                reading = thread.submit(_run, others)
                _run(mine)
                reading.result()
        found.add(other)
        rows = [(key, group.row(self._named(key), level)) for key, group in found.groups.items()]
        rows.sort(key=self._order)
        return tuple(row for _, row in rows), found.whole.row({}, level)

    def _reader(self, books: Books) -> Reader:
        return Reader(self._question, self._span, self._times, books)

    # ------------------------------------------------------------ time

    def _narrowed(self, span: Span) -> Span:
        """Without bounds that leave nothing out: a whole table is read faster without its index."""
        self._first, self._last = self._ends()
        since = None if span.since is not None and span.since <= self._first else span.since
        until = None if span.until is not None and span.until > self._last else span.until
        return Span(since, until)

    def _ends(self) -> tuple[float, float]:
        found = [
            self._books.connection.execute(select(function(table.c.at))).scalar()
            for function in (func.min, func.max)
            for table in (attempts, calls)
        ]
        there = [at for at in found if at is not None]
        return min(there, default=0.0), max(there, default=0.0)

    def _named(self, key: Key) -> dict[str, Any]:
        return {
            name: name_of(name, self._times[name][value - 1], self._question.zone) if name in TIMES else value
            for name, value in zip(self._question.by, key, strict=True)
        }

    def _order(self, one: tuple[Key, ReportRow]) -> tuple[Any, ...]:
        key, row = one
        texts = tuple(str(value or "") for value in row.group.values())
        # By number: where clocks are set back an hour comes twice, and its names sort the other way round.
        timed = tuple(place for name, place in zip(self._question.by, key, strict=True) if name in TIMES)
        return *timed, -row.cost, -row.requests, texts


def _run(statements: Iterable[Callable[[], None]]) -> None:
    for read in statements:
        read()
