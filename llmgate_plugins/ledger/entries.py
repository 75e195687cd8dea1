"""What is handed to the ledger's writer: a row to be, and the promise of its answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.call_rows import closed_columns, decision_columns, feedback_row
from llmgate_plugins.ledger.facts import Facts, call_facts, intent_facts, settlement_facts
from llmgate_plugins.ledger.plain import dump_json, plain_text
from llmgate_plugins.ledger.rows import opened_columns, settled_columns
from llmgate_plugins.promises import Promise, Said
from llmgate_plugins.records import DecisionRecord

__all__ = ["Brief", "Entry", "Step", "brief", "certain_step", "step_of"]

log = logging.getLogger("llmgate.ledger")


class Step(NamedTuple):
    """A change of the books as plain values: what a statement takes, and what an outbox keeps.

    Attributes:
        kind: Which statement ("open", "settle", "close", "content", "assign", "feedback").
        values: Its parameters by name: which there are says what else the statement says.
    """

    kind: str
    values: dict[str, Any]


Brief: TypeAlias = tuple[tuple[str, Facts], DecisionRecord | None]
"""A step to be: its kind and what it is made of, and the record that has more to say, if there is one."""


def brief(kind: str, subject: Any) -> Brief | None:
    """What is quickly read out of something handed over; None where it is a step at once."""
    if kind == "open":
        return (kind, intent_facts(subject)), None
    if kind == "settle":
        return (kind, settlement_facts(*subject)), None
    if kind == "close":
        return (kind, call_facts(subject)), subject
    return None


def _settle_values(call_id: str, number: int, *settlement: Any) -> dict[str, Any]:
    return {"key_call_id": plain_text(call_id), "key_number": number, **settled_columns(*settlement)}


def _content_values(row: Mapping[str, Any]) -> dict[str, Any]:
    answer = row["answer"]
    return {
        **row,
        "call_id": plain_text(row["call_id"]),
        "tenant": plain_text(row["tenant"]),
        "messages": dump_json(row["messages"]),
        "answer": None if answer is None else dump_json(answer),
    }


_OF_FACTS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "open": opened_columns,
    "settle": _settle_values,
    "close": closed_columns,
}
_OF_OTHERS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "content": _content_values,
    "assign": dict,
    "feedback": feedback_row,
}


def step_of(kind: str, subject: Any) -> Step:
    """The change that something stands for. Raises whatever is wrong with it."""
    row = brief(kind, subject)
    return Step(kind, _OF_OTHERS[kind](subject)) if row is None else _made(*row)


def certain_step(row: Brief) -> Step:
    """The step of a row that has been acknowledged: it says less if need be, and is no more than
    its facts, which no database takes, where nobody knows what to make of them."""
    read, record = row
    if record is not None:
        try:
            return _made(read, record)
        except Exception:
            log.exception("a row of the ledger says less than it might")
    try:
        return _made(read, None)
    except Exception:
        log.exception("nobody knows what to make of a row of the ledger")
        return Step(read[0], {"facts": read[1]})


def _made(read: tuple[str, Sequence[Any]], record: DecisionRecord | None) -> Step:
    kind, facts = read
    values = _OF_FACTS[kind](*facts)
    if record is not None:
        values |= decision_columns(record)
    return Step(kind, values)


_LABELS: Mapping[str, Callable[[Any], str]] = {
    "open": lambda intent: f"open attempt {intent.number} of call {intent.call_id}",
    "settle": lambda subject: f"settle attempt {subject[1]} of call {subject[0]}",
    "close": lambda record: f"close call {record.call_id}",
    "content": lambda row: f"keep call {row['call_id']}",
    "assign": lambda row: f"note the experiment {row['experiment']!r} of call {row['call_id']}",
    "feedback": lambda feedback: f"keep the feedback on call {feedback.call_id}",
    "flush": lambda _: "bring all rows into the books",
}


class Entry(Promise[Any]):
    """Something to write, and the promise of its answer.

    Attributes:
        kind: Which statement, as of `Step`; "flush" for none.
        subject: What it is about, as the kind has it.
        since: When it was handed over, monotonic seconds; only of a flush.
        mark: How many rows of the outbox it waits for; only of a flush.
    """

    __slots__ = ("kind", "mark", "since", "subject")

    def __init__(self, kind: str, subject: Any = None) -> None:
        super().__init__()
        self.kind = kind
        self.subject = subject
        self.mark = 0
        self.since = time.monotonic() if kind == "flush" else 0.0

    def step(self) -> Step:
        """The change it stands for. Raises whatever is wrong with its subject."""
        return step_of(self.kind, self.subject)

    def told(self, answer: Any) -> tuple[Entry, Said]:
        """Itself, and what it is to be answered: a value, or an exception that kept it out."""
        if not isinstance(answer, BaseException):
            return self, (answer, None)
        # An error of its own for each, so that raising one does not change another.
        error = StorageError(f"the ledger could not {_LABELS[self.kind](self.subject)}: {answer}")
        error.__cause__ = answer
        return self, (None, error)
