"""Writes entries to the ledger's tables, many in one transaction, and reads rows back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Engine,
    Table,
    bindparam,
    func,
    inspect,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger.rows import (
    TOKEN_COLUMNS,
    attempt_row,
    call_row,
    open_intent,
    plain_text,
    settled_columns,
)
from llmgate_plugins.ledger.schema import SCHEMA_VERSION, attempts, calls, metadata, schema
from llmgate_plugins.ledger.sqlite import WRITING, insert_once
from llmgate_plugins.ledger.writer import Entry
from llmgate_plugins.services import Settlement, Standing

__all__ = ["Tables"]

_OPEN = insert_once(attempts)
_CLOSE = insert_once(calls)
_SETTLE = (
    update(attempts)
    .where(
        attempts.c.call_id == bindparam("key_call_id"),
        attempts.c.number == bindparam("key_number"),
        attempts.c.status.in_(("intent", "unknown")),
    )
    .values(late=attempts.c.status == "unknown")
)
_RECOVER = (
    update(attempts)
    .where(attempts.c.status == "intent", attempts.c.at < bindparam("before"))
    .values(
        status="unknown",
        settled_at=bindparam("now"),
        cost_nano_usd=attempts.c.estimate_nano_usd,
        estimated=true(),
    )
)
_TOKENS = sum((attempts.c[column] for column in TOKEN_COLUMNS), literal(0))


def _settle_values(subject: tuple[str, int, Settlement]) -> dict[str, Any]:
    call_id, number, settlement = subject
    return {"key_call_id": plain_text(call_id), "key_number": number, **settled_columns(settlement)}


_VALUES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "open": attempt_row,
    "settle": _settle_values,
    "close": call_row,
    "recover": lambda span: {"before": span[0], "now": span[1]},
    "flush": lambda _: {},
}
_STATEMENTS: Mapping[str, Any] = {"open": _OPEN, "settle": _SETTLE, "close": _CLOSE}


class _Uneven(Exception):
    """Some of the settlements found no intent; which ones has to be seen one by one."""


class Tables:
    """The tables of one database. `write` and the fork hooks are the writer's.

    Args:
        engine: Connections that begin as `sqlite.connect` sets them up.
        path: Names the database in errors.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._reading = threading.Lock()

    # ------------------------------------------------------------ opening

    def prepare(self) -> None:
        """Make the tables, or check that they are of this version."""
        try:
            with self._connection(writing=True) as connection, connection.begin():
                found = self._version(connection)
                if found is None:
                    metadata.create_all(connection)
                    connection.execute(insert_once(schema), {"id": 1, "version": SCHEMA_VERSION})
                    return
        except OperationalError as error:
            raise ConfigurationError(f"the ledger {self._path} cannot be written: {error.orig}") from error
        except DBAPIError as error:
            raise StorageError(f"{self._path} cannot be a ledger: {error.orig}") from error
        if found != SCHEMA_VERSION:
            self._refuse(found)

    def _version(self, connection: Connection) -> int | None:
        names = set(inspect(connection).get_table_names())
        if schema.name in names:
            return connection.execute(select(schema.c.version)).scalar() or 0
        taken = names & {attempts.name, calls.name}
        if taken:
            raise StorageError(
                f"{self._path} has a table {min(taken)!r} that is not llmgate's; "
                "give the ledger a file of its own"
            )
        return None

    def _refuse(self, found: int) -> None:
        way_out = (
            "use the llmgate that wrote it, or a newer one"
            if found > SCHEMA_VERSION
            else "move the file aside and start a new one, or use the llmgate that wrote it"
        )
        raise StorageError(
            f"the ledger {self._path} has tables of version {found}; this llmgate has version "
            f"{SCHEMA_VERSION}: {way_out}"
        )

    # ------------------------------------------------------------ writing

    def write(self, entries: Sequence[Entry]) -> list[Any]:
        """Write them all; per entry its answer, or the exception that kept it out.

        Raises:
            StorageError: None of them was written.
        """
        answers: list[Any] = [None] * len(entries)
        steps: list[tuple[int, str, dict[str, Any]]] = []
        for index, entry in enumerate(entries):
            try:
                steps.append((index, entry.kind, _VALUES[entry.kind](entry.subject)))
            except Exception as error:  # noqa: BLE001 - a row that cannot be made fails alone
                answers[index] = error
        try:
            with self._connection(writing=True) as connection:
                try:
                    with connection.begin():
                        self._write_together(connection, steps, answers)
                except Exception as error:
                    if _is_locked(error):
                        raise
                    self._write_singly(connection, steps, answers)
        except DBAPIError as error:
            raise StorageError(f"{self._path}: {error.orig}") from error
        return answers

    def _write_together(
        self, connection: Connection, steps: Sequence[tuple[int, str, dict[str, Any]]], answers: list[Any]
    ) -> None:
        """The usual way: one statement per kind.

        Kinds are brought together across other entries; only an attempt that is opened
        after it was settled, and a recovery, must keep their place."""
        groups: dict[str, list[tuple[int, dict[str, Any]]]] = {kind: [] for kind in _STATEMENTS}
        settled: set[tuple[str, int]] = set()
        for index, kind, values in steps:
            if kind == "settle":
                settled.add((values["key_call_id"], values["key_number"]))
            elif kind == "recover" or (kind == "open" and (values["call_id"], values["number"]) in settled):
                _execute_groups(connection, groups, answers)
                settled.clear()
            if kind == "recover":
                answers[index] = connection.execute(_RECOVER, values).rowcount
            elif kind in groups:
                groups[kind].append((index, values))
        _execute_groups(connection, groups, answers)

    def _write_singly(
        self, connection: Connection, steps: Sequence[tuple[int, str, dict[str, Any]]], answers: list[Any]
    ) -> None:
        """When something in the transaction was not as expected: a transaction for each row.

        Not a savepoint for each: a full disk ends the whole transaction, and with it rows
        that were already said to be written."""
        for position, (index, kind, values) in enumerate(steps):
            try:
                with connection.begin():
                    answer = _execute_one(connection, kind, values)
            except DBAPIError as error:
                answer = error.orig
                if _is_locked(error):  # it has waited long enough for all of them
                    for later, _, _ in steps[position:]:
                        answers[later] = answer
                    return
            except Exception as error:  # noqa: BLE001 - a value the database does not take
                answer = error
            answers[index] = answer

    # ------------------------------------------------------------ reading

    def rows(self, table: Table, call_id: str | None) -> list[dict[str, Any]]:
        """Rows as plain values, oldest first."""
        order = [table.c.at, table.c.call_id]
        if "number" in table.c:
            order.append(table.c.number)
        query = select(table).order_by(*order)
        if call_id is not None:
            query = query.where(table.c.call_id == plain_text(call_id))
        try:
            with self._reading, self._connection() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except DBAPIError as error:
            raise StorageError(f"the ledger {self._path} could not be read: {error.orig}") from error

    def standing(
        self, where: Mapping[str, str | None], since: float, until: float, part: float | None
    ) -> Standing:
        """What the attempts opened in [since, until) have used."""
        those = [attempts.c.at >= since, attempts.c.at < until]
        those += [attempts.c[column] == plain_text(value) for column, value in where.items()]
        begin = literal(since, Double) if part is None else func.floor(attempts.c.at / literal(part, Double))
        used = (
            select(begin, func.count(), func.sum(_TOKENS), func.sum(attempts.c.cost_nano_usd))
            .where(*those, attempts.c.status.not_in(("intent", "skipped")))
            .group_by(begin)
            .order_by(begin)
        )
        under_way = select(attempts).where(*those, attempts.c.status == "intent").order_by(attempts.c.at)
        try:
            with self._reading, self._connection() as connection:
                sums = connection.execute(used).all()
                intents = connection.execute(under_way).mappings().all()
        except DBAPIError as error:
            raise StorageError(f"the ledger {self._path} could not be read: {error.orig}") from error
        return Standing(
            used=tuple(
                (at if part is None else at * part, count, int(tokens), int(cost))
                for at, count, tokens, cost in sums
            ),
            open=tuple(open_intent(row) for row in intents),
        )

    # ------------------------------------------------------------ connections

    def _connection(self, *, writing: bool = False) -> Connection:
        return self._engine.connect().execution_options(**{WRITING: writing})

    def disconnect(self) -> None:
        """Let go of every connection that is not in use; they come back when needed."""
        self._engine.dispose()

    def before_fork(self) -> None:
        """Wait until nothing is read, and let go of every connection."""
        self._reading.acquire()
        self._engine.dispose()

    def after_fork(self, *, child: bool) -> None:
        """Go on."""
        if child:
            self._reading = threading.Lock()
        else:
            self._reading.release()


def _execute_groups(
    connection: Connection, groups: Mapping[str, list[tuple[int, dict[str, Any]]]], answers: list[Any]
) -> None:
    for kind, group in groups.items():
        if not group:
            continue
        result = connection.execute(_STATEMENTS[kind], [values for _, values in group])
        if kind == "settle":
            if result.rowcount != len(group):
                raise _Uneven
            for index, _ in group:
                answers[index] = True
        group.clear()


def _is_locked(error: Exception) -> bool:
    return isinstance(error, OperationalError) and "locked" in str(error.orig)


def _execute_one(connection: Connection, kind: str, values: dict[str, Any]) -> Any:
    if kind == "flush":
        return None
    if kind == "recover":
        return connection.execute(_RECOVER, values).rowcount
    result = connection.execute(_STATEMENTS[kind], values)
    return result.rowcount == 1 if kind == "settle" else None
