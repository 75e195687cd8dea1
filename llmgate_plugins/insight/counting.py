"""The statements of a report, each one pass over its table, and what they have found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, or_, select

from llmgate_plugins.insight.books import Aggregate, Books
from llmgate_plugins.insight.buckets import TIMES, TimeUnit
from llmgate_plugins.insight.facts import fact_of, shadows
from llmgate_plugins.insight.question import Question
from llmgate_plugins.insight.report import NO_TIMES, Level, Quantiles, ReportRow
from llmgate_plugins.insight.spans import Span, during
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.types import BUCKETS

__all__ = ["Group", "Key", "Reader"]

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
Key = tuple[Any, ...]


@dataclass(slots=True)
class Group:
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

    def add(self, other: Group) -> None:
        """What other statements have found of the same."""
        for name, number in other.numbers.items():
            self.numbers[name] += number
        for name, number in other.classes.items():
            self.classes[name] += number
        self.latency = self.latency if other.latency is NO_TIMES else other.latency
        self.first_token = self.first_token if other.first_token is NO_TIMES else other.first_token

    def row(self, group: Mapping[str, Any], level: Level) -> ReportRow:
        """The row of a report."""
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


class Reader:
    """Asks some of the statements by one connection, and adds up what they say.

    Args:
        question: What is asked.
        span: When.
        times: Name of a unit of time that is asked for -> moments at which one ends.
        books: Where to read.

    Attributes:
        groups: By their keys, what was found of each.
        whole: The same of all together.
    """

    def __init__(
        self, question: Question, span: Span, times: Mapping[TimeUnit, Sequence[float]], books: Books
    ) -> None:
        self._question = question
        self._span = span
        self._times = times
        self._books = books
        self.groups: defaultdict[Key, Group] = defaultdict(Group)
        self.whole = Group()

    def add(self, other: Reader) -> None:
        """What another has found."""
        for key, group in other.groups.items():
            self.groups[key].add(group)
        self.whole.add(other.whole)

    # ------------------------------------------------------------ statements

    def read_attempts(self) -> None:
        """What all attempts have; their times, where attempts are what is asked for."""
        table = attempts.c
        measures: list[ColumnElement[Any]] = [
            func.count().label("attempts"),
            *(func.sum(table[f"{bucket}_tokens"]).label(f"{bucket}_tokens") for bucket in _USUAL),
            func.sum(table.cost_nano_usd).label("cost"),
        ]
        self._read("attempts", measures)
        for group in (*self.groups.values(), self.whole):
            group.numbers["attempts:success"] = group.numbers["attempts"]
            if not self._question.calls_know:  # less those of `read_calls_of_attempts`
                group.numbers["calls"] = group.numbers["attempts"]

    def read_unusual(self) -> None:
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
            for group in (self.groups[tuple(key)], self.whole):
                if status != "success":
                    group.numbers["attempts:success"] -= number
                    group.numbers[f"attempts:{status}"] += number
                if error_class is not None:
                    group.classes[error_class] += number
                group.numbers[_WHY.get(reason, "first")] += number
                group.numbers["estimated"] += number if estimated else 0
                for column, tokens in zip(rarer, row[-len(rarer) :], strict=True):
                    group.numbers[column.name] += int(tokens)

    def read_calls(self) -> None:
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

    def read_calls_of_attempts(self) -> None:
        """How many calls these attempts belong to: as many, less those that a call had more of here,
        which is what this takes away.

        Only calls with several attempts are looked at; they are few."""
        table = attempts.c
        several = select(table.call_id).where(table.number > 1, *during(self._span, table.at))
        chosen = (*self._chosen("attempts"), table.call_id.in_(several))
        more = func.count() - func.count(table.call_id.distinct())
        keys = self._keys("attempts")
        execute = self._books.connection.execute
        for *key, number in execute(self._grouped(select(*keys, more).where(*chosen), len(keys))):
            self.groups[tuple(key)].numbers["calls"] -= number
        self.whole.numbers["calls"] -= execute(select(more).where(*chosen)).scalar_one()

    def _read(self, level: Level, measures: list[ColumnElement[Any]]) -> None:
        """Numbers by their labels, and the times if they are those of this table."""
        names = [measure.key or "" for measure in measures]
        keys = self._keys(level)
        timed = self._quantiles(level) if level == self._question.level else ()
        chosen = self._chosen(level)
        statement = select(*keys, *measures, *(one.column for one in timed)).where(*chosen)
        for row in self._books.connection.execute(self._grouped(statement, len(keys))):
            values = list(row)
            group = self.groups[tuple(values[: len(keys)])]
            for name, value in zip(names, values[len(keys) :], strict=False):
                group.numbers[name] += int(value or 0)
                self.whole.numbers[name] += int(value or 0)
            if timed:
                group.set_times([one.read(value) for one, value in zip(timed, values[-2:], strict=True)])
        if timed:  # quantiles do not add up as numbers do
            self.whole.set_times(self._books.of_all(timed, chosen))

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
        return [
            *during(self._span, _TABLES[level].c.at),
            *shadows(level, self._question.shadow_calls),
            *clauses,
        ]
