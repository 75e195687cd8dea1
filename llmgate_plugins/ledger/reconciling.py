"""Compares what stands in the books twice, and makes it agree: attempts say what is true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, and_, case, exists, func, insert, or_, select, update

from llmgate_plugins.ledger.facts import CONTEXT_COLUMNS
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.ledger.sweeping import is_over, recover_expired

__all__ = ["Difference", "differences", "repair"]

_SUMS: Final = ("cost_nano_usd", *TOKEN_COLUMNS)
_FACTS: Final = (*CONTEXT_COLUMNS.values(), "policy_version", "trace_id", "tags", "extra")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that does not agree.

    Attributes:
        kind: "open": an attempt whose time is over was never settled. "no_call": attempts
            whose call never ended. "no_attempts": a call says that more attempts were sent
            than there are. "sum": a call's sum is not that of its attempts. "counter": a
            counter of the state is not what the books say.
        call_id: Of which call; for a counter, its key.
        column: What is summed up, where something is.
        books: What the attempts say.
        other: What the call or the counter says.
        repaired: Whether it agrees now.
    """

    kind: str
    call_id: str
    column: str = ""
    books: int = 0
    other: int = 0
    repaired: bool = False


def differences(connection: Connection, now: float) -> Iterator[Difference]:
    """All that does not agree in the tables. Calls that may still be under way are left out."""
    yield from _open(connection, now)
    yield from _without_call(connection, now)
    yield from _sums(connection)


def repair(connection: Connection, now: float) -> list[Difference]:
    """Make the tables agree, in one transaction of the caller's; what was found."""
    found = [replace(one, repaired=True) for one in _open(connection, now)]
    recover_expired(connection, now)
    for lost in list(_without_call(connection, now)):
        _close(connection, lost.call_id)
        found.append(replace(lost, repaired=True))
    for wrong in list(_sums(connection)):
        if wrong.kind == "no_attempts":
            found.append(wrong)
            continue
        connection.execute(
            update(calls).where(calls.c.call_id == wrong.call_id).values({wrong.column: wrong.books})
        )
        found.append(replace(wrong, repaired=True))
    return found


def _open(connection: Connection, now: float) -> Iterator[Difference]:
    query = select(attempts.c.call_id, attempts.c.estimate_nano_usd).where(
        attempts.c.status == "intent", is_over(now)
    )
    for call_id, estimate in connection.execute(query).all():
        yield Difference(kind="open", call_id=call_id, column="cost_nano_usd", books=estimate)


def _without_call(connection: Connection, now: float) -> Iterator[Difference]:
    """Calls of which only attempts are there, all of them over."""
    ended = exists().where(calls.c.call_id == attempts.c.call_id)
    query = (
        select(attempts.c.call_id, func.sum(attempts.c.cost_nano_usd))
        .where(~ended)
        .group_by(attempts.c.call_id)
        .having(
            and_(
                func.sum(_one_if(attempts.c.status == "intent")) == 0,
                or_(
                    func.sum(_one_if(~is_over(now))) == 0,
                    func.sum(_one_if(attempts.c.status == "unknown")) > 0,
                ),
            )
        )
    )
    for call_id, cost in connection.execute(query).all():
        yield Difference(kind="no_call", call_id=call_id, column="cost_nano_usd", books=int(cost))


def _one_if(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _sums(connection: Connection) -> Iterator[Difference]:
    sent = func.sum(_one_if(attempts.c.status != "skipped")).label("sent")
    of_attempts = (
        select(
            attempts.c.call_id,
            sent,
            func.sum(_one_if(attempts.c.status == "intent")).label("open"),
            *(func.sum(attempts.c[column]).label(column) for column in _SUMS),
        )
        .group_by(attempts.c.call_id)
        .subquery()
    )
    found = of_attempts.c
    query = (
        select(calls.c.call_id, calls.c.attempts, *(calls.c[column] for column in _SUMS), *found)
        .select_from(calls.outerjoin(of_attempts, found.call_id == calls.c.call_id))
        .where(
            or_(
                func.coalesce(found.sent, 0) != calls.c.attempts,
                *(func.coalesce(found[column], 0) != calls.c[column] for column in _SUMS),
            )
        )
    )
    width = 2 + len(_SUMS)
    for row in connection.execute(query).all():
        call_id, said = row[0], dict(zip(("attempts", *_SUMS), row[1:width], strict=True))
        is_sent, is_open = int(row[width + 1] or 0), int(row[width + 2] or 0)
        sums = dict(zip(_SUMS, (int(value or 0) for value in row[width + 3 :]), strict=True))
        if is_open:
            continue
        if is_sent < said["attempts"]:
            yield Difference(
                kind="no_attempts", call_id=call_id, column="attempts", books=is_sent, other=said["attempts"]
            )
            continue
        for column, books in {"attempts": is_sent, **sums}.items():
            if books != said[column]:
                yield Difference(kind="sum", call_id=call_id, column=column, books=books, other=said[column])


def _close(connection: Connection, call_id: str) -> None:
    """The terminal row that a dead process could not write: what its attempts say."""
    query = select(attempts).where(attempts.c.call_id == call_id).order_by(attempts.c.number)
    rows: Sequence[Mapping[str, Any]] = [dict(row) for row in connection.execute(query).mappings()]
    first, sent = rows[0], [row for row in rows if row["status"] != "skipped"]
    begun, over = first["at"], max(row["settled_at"] or row["at"] for row in rows)
    connection.execute(
        insert(calls),
        {
            "call_id": call_id,
            "at": begun,
            "model": first["requested_model"] or first["alias"],
            "operation": first["operation"] or "chat",
            "stream": bool(first["stream"]),
            "status": "unknown",
            "first_deployment": sent[0]["deployment"] if sent else None,
            "attempts": len(sent),
            "estimated": any(row["estimated"] for row in rows),
            **{column: sum(row[column] for row in rows) for column in _SUMS},
            "latency_s": max(over - begun, 0.0),
            "reason": "",
            "error": "the process ended before the call did",
            "priority": 1 if first["priority"] is None else first["priority"],
            **{fact: first[fact] for fact in _FACTS},
            "problems": [],
            "decision": {},
        },
    )
