"""The books in this process: gone when it ends."""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.ledger.call_rows import CALL_JSON, assignment_rows, call_row, feedback_row
from llmgate_plugins.ledger.facts import intent_facts, settlement_facts
from llmgate_plugins.ledger.naming import check_columns, compared_value
from llmgate_plugins.ledger.plain import plain_text
from llmgate_plugins.ledger.rows import (
    ATTEMPT_JSON,
    ENDS,
    TOKEN_COLUMNS,
    attempt_row,
    not_an_end,
    open_intent,
    settled_columns,
    unknown_columns,
)
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, Feedback, Settlement, ShadowCalls, Standing

__all__ = ["MemoryLedger"]


_Attempt = list[Any]
"""[intent, settlement or None, when recovery booked it or None]: an attempt's row before
anyone reads it. A list, since one is made per attempt."""


class _Call:
    """A call's rows before anyone reads them. `closing` is the record, or its row."""

    __slots__ = ("assignments", "attempts", "closing", "content")

    def __init__(self) -> None:
        self.attempts: dict[int, _Attempt] = {}
        self.assignments: Sequence[Mapping[str, Any]] = ()
        self.closing: DecisionRecord | dict[str, Any] | None = None
        self.content: Mapping[str, Any] | None = None


class MemoryLedger:
    """The last rows of this process, for tests, demos and short programs.

    Guarantees:
        - Thread-safe; answers are never pending.
        - One row per (call_id, number) and per call_id; an attempt settles once.
        - At most `limit` rows; the oldest call is dropped first, with all its rows.
          A dropped attempt can no longer be settled. Feedback counts apart.
        - Nothing outlives the process: use "sqlite:///..." for books that must.

    Rows are made when they are read, so that writing costs little. A call in which an
    attempt failed is made into its row at once, so as not to keep the errors alive with
    all that their tracebacks hold.

    Args:
        limit: The most rows to keep, attempts and calls together; and of feedback.
    """

    durable = False

    def __init__(self, limit: int = 100_000) -> None:
        if limit < 1:
            raise ValueError(f"a ledger needs room for at least one row, not {limit}")
        self.limit = limit
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._feedback: OrderedDict[str, Feedback] = OrderedDict()
        self._rows = 0
        self._lock = threading.Lock()

    def open_attempt(self, intent: AttemptIntent) -> None:
        """Write the intent. Once per (call_id, number); a repeat changes nothing."""
        call_id = intent.call_id
        with self._lock:
            call = self._calls.get(call_id)
            if call is None:
                call = self._calls[call_id] = _Call()
            if intent.number not in call.attempts:
                call.attempts[intent.number] = [intent, None, None]
                self._rows += 1
                if self._rows > self.limit:
                    self._drop_oldest()

    def settle_attempt(self, call_id: str, number: int, settlement: Settlement) -> bool:
        """From intent to settled, or from what recovery booked to what it really was. False,
        and no change, on a repeat.

        Raises:
            ValueError: The status is not an end.
        """
        if settlement.status not in ENDS:
            raise ValueError(not_an_end(settlement))
        with self._lock:
            call = self._calls.get(call_id)
            attempt = None if call is None else call.attempts.get(number)
            if attempt is None or attempt[1] is not None:
                return False
            attempt[1] = settlement
            return True

    def close_call(self, record: DecisionRecord) -> None:
        """Write the call's terminal row. Once per call_id; a repeat changes nothing."""
        call_id = record.call_id
        closing: DecisionRecord | dict[str, Any] = record
        for _, outcome in record.attempts:
            if outcome.error is not None:
                closing = call_row(record)
                break
        with self._lock:
            call = self._calls.get(call_id)
            if call is None:
                call = self._calls[call_id] = _Call()
            if call.closing is None:
                call.closing = closing
                if record.experiments:
                    call.assignments = assignment_rows(record)
                self._rows += 1
                if self._rows > self.limit:
                    self._drop_oldest()

    def keep_content(self, content: Mapping[str, Any]) -> None:
        """Keep what was asked and answered (a row of `contents`), as long as its call."""
        with self._lock:
            call = self._calls.setdefault(content["call_id"], _Call())
            if call.content is None:
                call.content = dict(content)

    def add_feedback(self, feedback: Feedback) -> None:
        """Keep it. Once per id; a repeat changes nothing."""
        with self._lock:
            self._feedback.setdefault(feedback.id, feedback)
            if len(self._feedback) > self.limit:
                self._feedback.popitem(last=False)

    def recover(self, *, older_than: float, now: float) -> int:
        """Turn intents opened more than `older_than` seconds before `now` (Unix time)
        into status "unknown" at their estimate; how many."""
        before = now - older_than
        count = 0
        with self._lock:
            for call in self._calls.values():
                for attempt in call.attempts.values():
                    if attempt[1] is attempt[2] is None and attempt[0].at < before:
                        attempt[2] = now
                        count += 1
        return count

    def standing(
        self,
        where: Mapping[str, str | None],
        *,
        since: float,
        until: float,
        part: float | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> Standing:
        """What the attempts opened in [since, until) have used; see `Ledger.standing`."""
        check_columns(where)
        with self._lock:
            found = [
                tuple(one)
                for call in self._calls.values()
                for one in call.attempts.values()
                if since <= one[0].at < until
            ]
        wanted = {name: plain_text(value) for name, value in where.items()}
        rows = [
            row
            for row in (_attempt_row(*one) for one in found)
            if all(compared_value(row, name) == value for name, value in wanted.items())
            and (shadow_calls == "with" or (row["shadow_of"] is not None) == (shadow_calls == "only"))
        ]
        used: dict[float, tuple[int, int, int]] = {}
        for row in rows:
            if row["status"] not in ("intent", "skipped"):
                begin = since if part is None else math.floor(row["at"] / part) * part
                requests, tokens, cost = used.get(begin, (0, 0, 0))
                spent = sum(row[column] for column in TOKEN_COLUMNS)
                used[begin] = (requests + 1, tokens + spent, cost + row["cost_nano_usd"])
        return Standing(
            used=tuple((begin, *sums) for begin, sums in sorted(used.items())),
            open=tuple(map(open_intent, (row for row in rows if row["status"] == "intent"))),
        )

    def gather(self) -> None:
        """Nothing ever waits."""

    def flush(self) -> None:
        """Nothing is ever on its way."""

    def close(self) -> None:
        """Nothing to let go of; the rows can still be read."""

    def attempts(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Attempt rows as plain values, oldest first."""
        with self._lock:
            found = [tuple(one) for call in self._found(call_id) for one in call.attempts.values()]
        rows = [_attempt_row(*one) for one in found]
        rows.sort(key=lambda row: (row["at"], row["call_id"], row["number"]))
        return rows

    def calls(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Call rows as plain values, oldest first."""
        with self._lock:
            found = [call.closing for call in self._found(call_id) if call.closing is not None]
        rows = [one if isinstance(one, dict) else call_row(one) for one in found]
        rows = [_with_json(row, CALL_JSON) for row in rows]
        rows.sort(key=lambda row: (row["at"], row["call_id"]))
        return rows

    def contents(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """What was asked and answered, where that is kept, oldest first."""
        with self._lock:
            found = [dict(call.content) for call in self._found(call_id) if call.content is not None]
        return sorted(found, key=lambda row: (row["at"], row["call_id"]))

    def assignments(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Which call was under which arm of which experiment, oldest first."""
        with self._lock:
            rows = [dict(row) for call in self._found(call_id) for row in call.assignments]
        return sorted(rows, key=lambda row: (row["at"], row["experiment"], row["call_id"]))

    def feedback(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Rows of feedback as plain values, oldest first."""
        with self._lock:
            found = [one for one in self._feedback.values() if call_id in (None, one.call_id)]
        return sorted(map(feedback_row, found), key=lambda row: (row["at"], row["id"]))

    def _found(self, call_id: str | None) -> list[_Call]:
        if call_id is None:
            return list(self._calls.values())
        return [self._calls[call_id]] if call_id in self._calls else []

    def _drop_oldest(self) -> None:
        while self._rows > self.limit and len(self._calls) > 1:
            _, oldest = self._calls.popitem(last=False)
            self._rows -= len(oldest.attempts) + (oldest.closing is not None)


def _attempt_row(
    intent: AttemptIntent, settlement: Settlement | None, recovered: float | None
) -> dict[str, Any]:
    row = attempt_row(intent_facts(intent))
    if settlement is not None:
        _, _, *end = settlement_facts((intent.call_id, intent.number, settlement))
        row |= settled_columns(*end) | {"late": recovered is not None}
    elif recovered is not None:
        row |= unknown_columns(intent, recovered)
    return _with_json(row, ATTEMPT_JSON)


def _with_json(row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """The row with these columns as they would come back from a database."""
    return row | {column: None if row[column] is None else json.loads(row[column]) for column in columns}
