"""Writes steps to the ledger's tables, many in one transaction, and reads rows back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Double, Table, func, literal, select
from sqlalchemy.exc import DBAPIError

from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.labels import compared
from llmgate_plugins.ledger.pen import Pen
from llmgate_plugins.ledger.plain import plain_text
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS, open_intent
from llmgate_plugins.ledger.schema import attempts
from llmgate_plugins.ledger.statements import KINDS, Statements
from llmgate_plugins.ledger.sweeping import Sweeper
from llmgate_plugins.ledger.upgrading import prepare
from llmgate_plugins.services import ShadowCalls, Standing

__all__ = ["Away", "Tables", "standing_in"]

log = logging.getLogger("llmgate.ledger")

LONGEST_READ: Final = 30.0
"""Seconds that a fork waits for those who read."""

_TOKENS = sum((attempts.c[column] for column in TOKEN_COLUMNS), literal(0))


class Away(StorageError):
    """The database takes no rows now; none of those at hand is to blame."""


_Groups: TypeAlias = dict[str, dict[tuple[str, ...], list[tuple[int, dict[str, Any]]]]]
"""Kind of step -> columns -> steps of that kind that have these, with their places."""


class _Uneven(Exception):
    """Some of the settlements found no intent; which ones has to be seen one by one."""


class Tables:
    """The tables of one database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._statements = Statements(database)
        self.pen = Pen(database)
        self.sweeper: Sweeper | None = None
        self._quiet = threading.Condition()
        self._readers = 0
        self._lost = False  # its file, and that was said

    # ------------------------------------------------------------ writing

    def write(self, steps: Sequence[Step]) -> list[Any]:
        """Write them all; per step its answer, or the exception that kept it out.

        Raises:
            Away: None of them was written, and none is to blame.
        """
        self._find_file()
        answers: list[Any] = [None] * len(steps)
        for way in (self._together, self._in_turn):
            try:
                with self.pen.transaction():
                    way(steps, answers)
            except Exception as error:  # the next way finds out which row it is
                away = self._away(error)
                if away is not None:
                    raise away from error
                if isinstance(error, DBAPIError):  # SQLAlchemy's word: there is no connection
                    raise StorageError(f"{self.database.name}: {error.orig}") from error
            else:
                return answers
        self._singly(steps, answers)
        return answers

    def _together(self, steps: Sequence[Step], answers: list[Any]) -> None:
        """The usual way: one statement per kind of step, and per set of columns.

        Kinds are brought together across other steps; only an attempt that is opened after
        it was settled must keep its place."""
        groups: _Groups = {kind: {} for kind in KINDS}
        settled: set[tuple[str, int]] = set()
        for index, (kind, values) in enumerate(steps):
            if kind == "settle":
                settled.add((values["key_call_id"], values["key_number"]))
            elif kind == "open" and (values["call_id"], values["number"]) in settled:
                self._execute(groups, answers)
                settled.clear()
            group = groups[kind]
            shape = tuple(values)
            if shape in group:
                group[shape].append((index, values))
            else:
                group[shape] = [(index, values)]
        self._execute(groups, answers)

    def _execute(self, groups: _Groups, answers: list[Any]) -> None:
        for kind, shapes in groups.items():
            for shape, group in shapes.items():
                statement = self._statements.of(kind, shape)
                changed = self.pen.run(statement, [values for _, values in group])
                if kind == "settle":
                    if changed != len(group):
                        raise _Uneven
                    for index, _ in group:
                        answers[index] = True
            shapes.clear()

    def _in_turn(self, steps: Sequence[Step], answers: list[Any]) -> None:
        """When a settlement was a repeat: one statement per step."""
        for index, step in enumerate(steps):
            answers[index] = self._one(step)

    def _singly(self, steps: Sequence[Step], answers: list[Any]) -> None:
        """When a row is to blame: a transaction for each, so that it fails alone."""
        for index, step in enumerate(steps):
            try:
                with self.pen.transaction():
                    answers[index] = self._one(step)
            except Exception as error:  # noqa: BLE001 - a value the database does not take
                answers[index] = self._away(error) or error

    def _one(self, step: Step) -> Any:
        statement = self._statements.of(step.kind, tuple(step.values))
        changed = self.pen.run(statement, [step.values])
        return changed == 1 if step.kind == "settle" else None

    def _find_file(self) -> None:
        """Go on in the file that stands there now, if that in use was deleted, renamed or replaced.

        Raises:
            Away: It cannot be opened or made, or holds something else.
        """
        place = self.database.place
        if place is None or not place.is_another():
            return
        if not self._lost:
            self._lost = True
            log.error(
                "the ledger's file %s was deleted, renamed or replaced while it was in use: what is not "
                "in the file that stands there now is not in the books",
                self.database.name,
            )
        self.pen.put_down()
        try:
            with place.begin_anew(self.database.engine):
                prepare(self.database)
        except (ConfigurationError, StorageError) as error:
            raise Away(str(error)) from error
        self._lost = False

    def _away(self, error: Exception) -> Away | None:
        """The same error, if the database is to blame for it."""
        said = error.orig if isinstance(error, DBAPIError) else error
        if not self.database.is_away(said):
            return None
        return Away(f"{self.database.name}: {' '.join(str(said).split())}")

    def tend(self) -> float | None:
        """A piece of housekeeping; seconds until the next, None without a sweeper.

        Raises `StorageError` for whatever the database says."""
        self._find_file()
        try:
            return None if self.sweeper is None else self.sweeper.step()
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise StorageError(f"the ledger {self.database.name} could not be written: {said}") from error

    # ------------------------------------------------------------ connections

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with. Raises `StorageError` for whatever the database says."""
        try:
            with self._held(), self.database.connect() as connection:
                yield connection
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise StorageError(f"the ledger {self.database.name} could not be read: {said}") from error

    @contextmanager
    def writing_beside(self) -> Iterator[Connection]:
        """A transaction of its own, beside the rows that are written. Raises as `writing` does.

        Its connection is not kept, so that it may be needed after `disconnect` as well."""
        with self._held(), self.writing() as connection:
            connection.detach()
            yield connection

    @contextmanager
    def _held(self) -> Iterator[None]:
        """A fork waits for it."""
        with self._quiet:
            self._readers += 1
        try:
            yield
        finally:
            with self._quiet:
                self._readers -= 1
                self._quiet.notify_all()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction. Raises `StorageError` for whatever the database says."""
        try:
            with self.database.connect(writing=True) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise StorageError(f"the ledger {self.database.name} could not be written: {said}") from error

    def disconnect(self) -> None:
        """Let go of every connection that is not in use; they come back when needed."""
        self.pen.put_down()
        self.database.engine.dispose()

    def before_fork(self) -> None:
        """Wait until nothing is read, and let go of every connection."""
        self._quiet.acquire()
        self._quiet.wait_for(lambda: not self._readers, timeout=LONGEST_READ)
        self.pen.put_down()
        self.database.engine.dispose()

    def after_fork(self, *, child: bool) -> None:
        """Go on."""
        if child:
            self._quiet = threading.Condition()
            self._readers = 0
        else:
            self._quiet.release()

    # ------------------------------------------------------------ reading

    def rows(self, connection: Connection, table: Table, call_id: str | None) -> list[dict[str, Any]]:
        """Rows as plain values, oldest first."""
        order = [table.c.at, *(column for column in table.primary_key)]
        query = select(table).order_by(*order)
        if call_id is not None:
            query = query.where(table.c.call_id == plain_text(call_id))
        return [dict(row) for row in connection.execute(query).mappings()]


def standing_in(
    connection: Connection,
    where: Mapping[str, str | None],
    since: float,
    until: float,
    part: float | None,
    shadow_calls: ShadowCalls,
) -> Standing:
    """What the attempts opened in [since, until) have used, by this connection."""
    those = [attempts.c.at >= since, attempts.c.at < until]
    dialect = connection.dialect.name
    those += [compared(name, dialect) == plain_text(value) for name, value in where.items()]
    if shadow_calls != "with":
        is_shadow = attempts.c.shadow_of.is_not(None)
        those.append(is_shadow if shadow_calls == "only" else ~is_shadow)
    begin = literal(since, Double) if part is None else func.floor(attempts.c.at / literal(part, Double))
    used = (
        select(begin.label("begin"), func.count(), func.sum(_TOKENS), func.sum(attempts.c.cost_nano_usd))
        .where(*those, attempts.c.status.not_in(("intent", "skipped")))
        .group_by("begin")
        .order_by("begin")
    )
    under_way = select(attempts).where(*those, attempts.c.status == "intent").order_by(attempts.c.at)
    sums = connection.execute(used).all()
    intents = connection.execute(under_way).mappings().all()
    return Standing(
        used=tuple(
            (at if part is None else at * part, count, int(tokens), int(cost))
            for at, count, tokens, cost in sums
        ),
        open=tuple(open_intent(row) for row in intents),
    )
