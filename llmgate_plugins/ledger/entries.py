"""What is handed to the ledger's writer: a row to be, and the promise of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.call_rows import brief_columns, closed_columns, feedback_row
from llmgate_plugins.ledger.plain import dump_json, plain_text
from llmgate_plugins.ledger.rows import opened_columns, settled_columns
from llmgate_plugins.promises import Promise, Said
from llmgate_plugins.services import Settlement

__all__ = ["Entry", "Step", "brief_step", "step_of"]


class Step(NamedTuple):
    """A change of the books as plain values: what a statement takes, and what an outbox keeps.

    Attributes:
        kind: Which statement ("open", "settle", "close", "content", "assign", "feedback").
        values: Its parameters by name: which there are says what else the statement says.
    """

    kind: str
    values: dict[str, Any]


def _settle_values(subject: tuple[str, int, Settlement]) -> dict[str, Any]:
    call_id, number, settlement = subject
    return {"key_call_id": plain_text(call_id), "key_number": number, **settled_columns(settlement)}


def _content_values(row: Mapping[str, Any]) -> dict[str, Any]:
    answer = row["answer"]
    return {
        **row,
        "call_id": plain_text(row["call_id"]),
        "tenant": plain_text(row["tenant"]),
        "messages": dump_json(row["messages"]),
        "answer": None if answer is None else dump_json(answer),
    }


_VALUES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "open": opened_columns,
    "settle": _settle_values,
    "close": closed_columns,
    "content": _content_values,
    "assign": dict,
    "feedback": feedback_row,
}


def step_of(kind: str, subject: Any) -> Step:
    """The change that something stands for. Raises whatever is wrong with it."""
    return Step(kind, _VALUES[kind](subject))


def brief_step(kind: str, subject: Any) -> tuple[Step, Callable[[], Step] | None]:
    """The same in a hurry: a step that says less if need be, and then what makes the whole of it."""
    if kind != "close":
        return step_of(kind, subject), None
    return Step(kind, brief_columns(subject)), partial(step_of, kind, subject)


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
