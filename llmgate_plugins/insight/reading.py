"""Reads reports from the books: a few statements, each one pass over its table, that give exact figures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, or_, select

from llmgate_plugins.insight.books import Aggregate, Books, open_books
from llmgate_plugins.insight.buckets import bounds_of, name_of
from llmgate_plugins.insight.conditions import Where
from llmgate_plugins.insight.facts import TIMES, fact_of, shadows
from llmgate_plugins.insight.question import Question
from llmgate_plugins.insight.report import NO_TIMES, Level, Quantiles, Report, ReportRow
from llmgate_plugins.insight.spans import Moment, Span, span_of
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.services import Ledger, ShadowCalls
from llmgate_plugins.types import BUCKETS

__all__ = ["read_report"]

_NOT_SENT: Final = ("skipped", "intent")
_USUAL: Final = ("input", "cached_input", "output")
"""Buckets that most attempts have tokens in."""
_WHY: Final = {
    "retry": "retries",
    "next_deployment": "failovers",
    "fallback": "failovers",
    "hedge": "hedges",
}
_TABLES: Final = {"attempts": attempts, "calls": calls}
_Key = tuple[Any, ...]


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
    with open_books(ledger) as books:
        answer = _Answer(question, span, books)
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


@dataclass(slots=True)
class _Group:
    """What the statements have found of one group so far."""

    numbers: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    classes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    latency: Quantiles = NO_TIMES
    first_token: Quantiles = NO_TIMES

    def set_times(self, times: Sequence[tuple[float, ...] | None]) -> None:
        """Latency and time to the first token."""
        latency, first_token = times
        self.latency = Quantiles(*latency) if latency else NO_TIMES
        self.first_token = Quantiles(*first_token) if first_token else NO_TIMES

    def row(self, group: Mapping[str, Any], level: Level) -> ReportRow:
        numbers = self.numbers
        return ReportRow(
            group=group,
            requests=numbers[level],
            successes=numbers[f"{level}:success"] + (numbers["answered"] if level == "calls" else 0),
            failures=numbers[f"{level}:error"],
            error_classes=dict(sorted(self.classes.items())),
            latency=self.latency,
            first_token=self.first_token,
            tokens={bucket: numbers[f"{bucket}_tokens"] for bucket in BUCKETS},
            **{name: numbers[name] for name in _COUNTED},
        )


_COUNTED: Final = (
    *("calls", "denied", "answered", "attempts", "retries", "failovers", "hedges", "estimated", "cost"),
)


class _Answer:
    """Asks the statements and puts together what they say."""

    def __init__(self, question: Question, span: Span, books: Books) -> None:
        self._question = question
        self._books = books
        self._span = self._narrowed(span)
        first = max(self._first, self._span.since or self._first)
        last = min(self._last, self._span.until or self._last)
        self._times = {
            name: bounds_of(name, question.zone, first, last) for name in TIMES if name in question.by
        }
        self._groups: defaultdict[_Key, _Group] = defaultdict(_Group)
        self._whole = _Group()

    def read(self) -> tuple[tuple[ReportRow, ...], ReportRow]:
        level = self._question.level
        self._read_attempts()
        self._read_unusual()
        if self._question.calls_know:
            self._read_calls()
        else:
            self._read_calls_of_attempts()
        rows = [group.row(self._named(key), level) for key, group in self._groups.items()]
        rows.sort(key=self._order)
        return tuple(rows), self._whole.row({}, level)

    # ------------------------------------------------------------ statements

    def _read_attempts(self) -> None:
        """What all attempts have; their times, where attempts are what is asked for."""
        table = attempts.c
        measures: list[ColumnElement[Any]] = [
            func.count().label("attempts"),
            *(func.sum(table[f"{bucket}_tokens"]).label(f"{bucket}_tokens") for bucket in _USUAL),
            func.sum(table.cost_nano_usd).label("cost"),
        ]
        self._read("attempts", measures)
        for group in (*self._groups.values(), self._whole):
            group.numbers["attempts:success"] = group.numbers["attempts"]

    def _read_unusual(self) -> None:
        """What only few attempts have: why they failed or were made, tokens of rarer buckets.

        Apart from the others, since each column that is counted costs a tenth of a second over
        a million rows."""
        table = attempts.c
        keys = self._keys("attempts")
        kinds = (table.status, table.error_class, table.reason, table.estimated)
        rarer = [table[f"{bucket}_tokens"] for bucket in BUCKETS if bucket not in _USUAL]
        unusual = or_(
            table.status != "success",
            table.error_class.is_not(None),
            table.reason != "first",
            table.estimated,
            *(column != 0 for column in rarer),
        )
        statement = select(*keys, *kinds, func.count(), *map(func.sum, rarer)).where(
            *self._chosen("attempts"), unusual
        )
        for row in self._books.connection.execute(self._grouped(statement, len(keys), *kinds)):
            key, (status, error_class, reason, estimated, number) = row[: len(keys)], row[len(keys) :][:5]
            for group in (self._groups[tuple(key)], self._whole):
                if status != "success":
                    group.numbers["attempts:success"] -= number
                    group.numbers[f"attempts:{status}"] += number
                if error_class is not None:
                    group.classes[error_class] += number
                group.numbers[_WHY.get(reason, "first")] += number
                group.numbers["estimated"] += number if estimated else 0
                for column, tokens in zip(rarer, row[-len(rarer) :], strict=True):
                    group.numbers[column.name] += int(tokens)

    def _read_calls(self) -> None:
        """How many calls there were and how they ended."""
        status = calls.c.status
        measures: list[ColumnElement[Any]] = [
            func.count().label("calls"),
            func.count().filter(status == "success").label("calls:success"),
            func.count().filter(status == "error").label("calls:error"),
            func.count().filter(status == "denied").label("denied"),
            func.count().filter(status == "answered").label("answered"),
        ]
        self._read("calls", measures)

    def _read_calls_of_attempts(self) -> None:
        """How many calls these attempts belong to: as many, less those that a call had more of here.

        Only calls with several attempts are looked at; they are few."""
        table = attempts.c
        several = select(table.call_id).where(table.number > 1, *self._during("attempts"))
        chosen = (*self._chosen("attempts"), table.call_id.in_(several))
        more = func.count() - func.count(table.call_id.distinct())
        keys = self._keys("attempts")
        for group in (*self._groups.values(), self._whole):
            group.numbers["calls"] = group.numbers["attempts"]
        execute = self._books.connection.execute
        for *key, number in execute(self._grouped(select(*keys, more).where(*chosen), len(keys))):
            self._groups[tuple(key)].numbers["calls"] -= number
        self._whole.numbers["calls"] -= execute(select(more).where(*chosen)).scalar_one()

    def _read(self, level: Level, measures: list[ColumnElement[Any]]) -> None:
        """Numbers by their labels, and the times if they are those of this table."""
        names = [measure.key or "" for measure in measures]
        keys = self._keys(level)
        timed = self._quantiles(level) if level == self._question.level else ()
        chosen = self._chosen(level)
        statement = select(*keys, *measures, *(one.column for one in timed)).where(*chosen)
        for row in self._books.connection.execute(self._grouped(statement, len(keys))):
            values = list(row)
            group = self._groups[tuple(values[: len(keys)])]
            for name, value in zip(names, values[len(keys) :], strict=False):
                group.numbers[name] += int(value or 0)
                self._whole.numbers[name] += int(value or 0)
            if timed:
                group.set_times([one.read(value) for one, value in zip(timed, values[-2:], strict=True)])
        if timed:  # quantiles do not add up as numbers do
            self._whole.set_times(self._books.of_all(timed, chosen))

    # ------------------------------------------------------------ parts of statements

    def _keys(self, level: Level) -> list[ColumnElement[Any]]:
        columns: list[ColumnElement[Any]] = []
        for place, name in enumerate(self._question.by):
            if name in TIMES:
                column: ColumnElement[Any] = self._books.bucket(_TABLES[level].c.at, self._times[name])
            else:
                column = fact_of(name).column(level, self._books)
            columns.append(column.label(f"key_{place}"))
        return columns

    def _grouped(self, statement: Select[Any], keys: int, *others: ColumnElement[Any]) -> Select[Any]:
        """By its first columns, by their labels: what holds parameters must not be written twice."""
        labels = [f"key_{place}" for place in range(keys)]
        return statement.group_by(*labels, *others) if labels or others else statement

    def _quantiles(self, level: Level) -> tuple[Aggregate, Aggregate]:
        table = _TABLES[level].c
        ended = table.status.in_(("success", "answered") if level == "calls" else ("success",))
        quantiles = self._books.quantiles
        return quantiles(table.latency_s, ended), quantiles(table.first_token_s, ended)

    def _chosen(self, level: Level) -> list[ColumnElement[bool]]:
        clauses = [one.clause(level, self._books) for one in self._question.conditions]
        if level == "attempts":
            clauses.append(attempts.c.status.not_in(_NOT_SENT))
        return [*self._during(level), *shadows(level, self._question.shadow_calls), *clauses]

    def _during(self, level: Level) -> list[ColumnElement[bool]]:
        at = _TABLES[level].c.at
        bounds = []
        if self._span.since is not None:
            bounds.append(at >= self._span.since)
        if self._span.until is not None:
            bounds.append(at < self._span.until)
        return bounds

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

    def _named(self, key: _Key) -> dict[str, Any]:
        return {
            name: name_of(name, self._times[name][value - 1], self._question.zone) if name in TIMES else value
            for name, value in zip(self._question.by, key, strict=True)
        }

    def _order(self, row: ReportRow) -> tuple[Any, ...]:
        texts = tuple(str(value or "") for value in row.group.values())
        timed = tuple(row.group[name] for name in self._question.by if name in TIMES)
        return *timed, -row.cost, -row.requests, texts
