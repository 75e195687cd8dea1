"""What is handed to the ledger's writer: a row to be, and the promise of its answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.call_rows import closed_columns, decision_columns, feedback_row
from llmgate_plugins.ledger.facts import READERS, Facts
from llmgate_plugins.ledger.plain import dump_json, plain_text
from llmgate_plugins.ledger.rows import opened_columns, settled_columns
from llmgate_plugins.promises import Promise, Said
from llmgate_plugins.records import DecisionRecord

__all__ = ["Entry", "Step", "certain_step", "step_of"]

log = logging.getLogger("llmgate.ledger")


class Step(NamedTuple):
    """A change of the books as plain values: what a statement takes, and what an outbox keeps.

    Attributes:
        kind: Which statement ("open", "settle", "close", "content", "assign", "feedback").
        values: Its parameters by name: which there are says what else the statement says.
    """

    kind: str
    values: dict[str, Any]


def _settle_values(which: Sequence[Any], *settlement: Any) -> dict[str, Any]:
    call_id, number = which[:2]
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
    read = READERS.get(kind)
    if read is None:
        return Step(kind, _OF_OTHERS[kind](subject))
    return _made(read(subject), subject if kind == "close" else None)


def certain_step(facts: Facts, record: DecisionRecord | None) -> Step:
    """The step of a row that has been acknowledged: it says less if need be, and is no more than
    its facts, which no database takes, where nobody knows what to make of them.

    Args:
        record: What has more to say of a call, if it is still known.
    """
    if record is not None:
        try:
            return _made(facts, record)
        except Exception:
            log.exception("a row of the ledger says less than it might")
    try:
        return _made(facts, None)
    except Exception:
        log.exception("nobody knows what to make of a row of the ledger")
        return Step(str(facts[0]), {"facts": facts[1:]})


def _made(facts: Facts, record: DecisionRecord | None) -> Step:
    kind = facts[0]
    values = _OF_FACTS[kind](*facts[1:])
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
