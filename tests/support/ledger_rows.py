"""Random books, and what stands in them: rows by Hypothesis, put into every kind of ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hypothesis import strategies as st
from sqlalchemy import delete, insert

from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.ledger.schema import attempts, calls
from llmgate_plugins.ledger.upgrading import prepare
from llmgate_plugins.services import Ledger

__all__ = [
    "BEGIN",
    "COLUMNS_OF_ATTEMPTS",
    "COLUMNS_OF_CALLS",
    "Filled",
    "RowsLedger",
    "books",
    "daily",
    "failed_over",
]

BEGIN = 1_793_491_200.0
"""2026-11-01 00:00 UTC."""

COLUMNS_OF_ATTEMPTS = tuple(column.name for column in attempts.c)
COLUMNS_OF_CALLS = tuple(column.name for column in calls.c)

_TEXTS = st.sampled_from(["search", "mail", None, "", "o'brien", '"; drop table attempts; --', "übung"])
_NAMES = st.sampled_from(["a", "b", "c"])
_TAGS = st.dictionaries(
    st.sampled_from(["job", 'od"d', "ü", "a.b"]), st.sampled_from(["x", "y", "=1+1"]), max_size=2
)
_TIMES = st.floats(0.001, 60.0).map(lambda value: round(value, 3))


@dataclass
class RowsLedger:
    """A ledger that is nothing but rows; as one in memory is to a report."""

    attempt_rows: Sequence[dict[str, Any]]
    call_rows: Sequence[dict[str, Any]]

    def attempts(self) -> list[dict[str, Any]]:
        return list(self.attempt_rows)

    def calls(self) -> list[dict[str, Any]]:
        return list(self.call_rows)

    def assignments(self) -> list[dict[str, Any]]:
        return []

    def feedback(self) -> list[dict[str, Any]]:
        return []

    def flush(self) -> None:
        pass

    def as_ledger(self) -> Ledger:
        return cast("Ledger", self)


class Filled:
    """A database with a ledger's tables, to be filled with rows as often as wanted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database = open_database(url)
        prepare(self._database)

    def fill(self, rows: RowsLedger) -> str:
        """Put the rows in place of all that is there."""
        with self._database.connect(writing=True) as connection, connection.begin():
            for table, some in ((attempts, rows.attempt_rows), (calls, rows.call_rows)):
                connection.execute(delete(table))
                if some:
                    connection.execute(insert(table), list(some))
        return self.url

    def close(self) -> None:
        self._database.engine.dispose()


@st.composite
def books(draw: st.DrawFn, most: int = 12) -> RowsLedger:
    """Calls with attempts: some without any, some whose process died before they were closed."""
    made = RowsLedger([], [])
    attempt_rows: list[dict[str, Any]] = []
    call_rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, most))):
        call_id = f"call-{number}"
        at = BEGIN + draw(st.integers(0, 30 * 24)) * 3_600.0 + draw(st.sampled_from([0.0, 0.5, 1_799.0]))
        who = {
            "team": draw(_TEXTS),
            "user_id": draw(_TEXTS),
            "policy": draw(st.sampled_from([None, "default", "eu"])),
            "stream": draw(st.booleans()),
            "priority": draw(st.integers(0, 3)),
            "tags": draw(_TAGS),
            "extra": draw(_TAGS),
            "operation": "chat",
        }
        route = draw(_NAMES)
        mine = []
        for count in range(draw(st.integers(0, 4))):
            mine.append(draw(_attempts(call_id, count + 1, at + count * 1_800.0, route, who)))
        attempt_rows += mine
        if draw(st.integers(0, 9)):
            call_rows.append(draw(_calls(call_id, at, route, who, mine)))
    made.attempt_rows, made.call_rows = attempt_rows, call_rows
    return made


@st.composite
def _attempts(draw: st.DrawFn, call_id: str, number: int, at: float, route: str, who: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS_OF_ATTEMPTS)
    status = draw(
        st.sampled_from(
            ["success", "success", "error", "cancelled", "abandoned", "unknown", "intent", "skipped"]
        )
    )
    failed = status == "error"
    name = draw(_NAMES)
    row |= who | {
        "call_id": call_id,
        "number": number,
        "at": at,
        "requested_model": draw(st.sampled_from([route, None])),
        "alias": route,
        "deployment": name,
        "provider": f"provider-{name}",
        "model": f"model-{name}",
        "served_model": draw(st.sampled_from([None, "model-x"])),
        "region": draw(st.sampled_from([None, "eu"])),
        "reason": "first" if number == 1 else draw(st.sampled_from(["retry", "next_deployment", "hedge"])),
        "status": status,
        "late": False,
        "error_class": draw(st.sampled_from(["rate_limit", "timeout", "server"])) if failed else None,
        "http_status": 429 if failed else None,
        "estimated": draw(st.booleans()),
        "latency_s": draw(_TIMES) if status not in ("intent", "skipped", "unknown") else None,
        "first_token_s": draw(st.one_of(st.none(), _TIMES)) if status == "success" else None,
    }
    spent = status not in ("intent", "skipped")
    for column in TOKEN_COLUMNS:
        row[column] = draw(st.integers(0, 5_000)) if spent else 0
    row["cost_nano_usd"] = draw(st.integers(0, 10**11)) if spent else 0
    for column in ("estimate_nano_usd", "reserve_nano_usd", "reserve_tokens"):
        row[column] = 0
    return row


@st.composite
def _calls(
    draw: st.DrawFn, call_id: str, at: float, route: str, who: Any, mine: list[dict[str, Any]]
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS_OF_CALLS)
    ends = ["success", "error", "cancelled"] if mine else ["denied", "answered", "error"]
    row |= who | {
        "call_id": call_id,
        "at": at,
        "model": route,
        "status": draw(st.sampled_from(ends)),
        "attempts": len(mine),
        "estimated": False,
        "latency_s": draw(_TIMES),
        "first_token_s": draw(st.one_of(st.none(), _TIMES)),
        "reason": "",
        "problems": [],
        "decision": {},
        "cost_nano_usd": sum(one["cost_nano_usd"] for one in mine),
    }
    for column in TOKEN_COLUMNS:
        row[column] = sum(one[column] for one in mine)
    return row


def failed_over() -> RowsLedger:
    """One call that failed over from model-a to model-b."""
    base: dict[str, Any] = {
        "team": "search",
        "tags": {"job": "x"},
        "extra": {},
        "stream": False,
        "priority": 1,
    }
    common = {
        **base,
        "call_id": "c",
        "at": BEGIN,
        "requested_model": "fast",
        "alias": "fast",
        "late": False,
        "estimated": False,
        "estimate_nano_usd": 0,
        "reserve_nano_usd": 0,
        "reserve_tokens": 0,
        **dict.fromkeys(TOKEN_COLUMNS, 0),
    }
    first = common | {
        "number": 1, "deployment": "a", "provider": "p", "model": "model-a", "reason": "first",
        "status": "error", "error_class": "timeout", "latency_s": 9.0, "cost_nano_usd": 3,
    }  # fmt: skip
    second = common | {
        "number": 2, "deployment": "b", "provider": "p", "model": "model-b", "reason": "next_deployment",
        "status": "success", "latency_s": 1.0, "cost_nano_usd": 5, "input_tokens": 10, "output_tokens": 40,
    }  # fmt: skip
    call = {
        **base, "call_id": "c", "at": BEGIN, "model": "fast", "operation": "chat", "status": "success",
        "attempts": 2, "estimated": False, "cost_nano_usd": 8, "latency_s": 10.0, "reason": "",
        "problems": [], "decision": {}, **dict.fromkeys(TOKEN_COLUMNS, 0),
    }  # fmt: skip
    empty_attempt: dict[str, Any] = dict.fromkeys(COLUMNS_OF_ATTEMPTS)
    empty_call: dict[str, Any] = dict.fromkeys(COLUMNS_OF_CALLS)
    return RowsLedger([empty_attempt | first, empty_attempt | second], [empty_call | call])


def daily(costs: Mapping[str, Sequence[int]], begin: float, *, per_day: float = 86_400.0) -> RowsLedger:
    """One attempt a day at noon for each team, with what that day costs, in nano-dollars."""
    blank: dict[str, Any] = dict.fromkeys(COLUMNS_OF_ATTEMPTS)
    template = failed_over().attempt_rows[1]
    rows = [
        blank
        | template
        | {
            "call_id": f"{team}-{day}",
            "at": begin + day * per_day + per_day / 2,
            "team": team,
            "cost_nano_usd": cost,
        }
        for team, some in costs.items()
        for day, cost in enumerate(some)
        if cost
    ]
    return RowsLedger(rows, [])
