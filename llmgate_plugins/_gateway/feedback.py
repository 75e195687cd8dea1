"""What somebody says of an answer, afterwards: checked, and told which deployment it is about."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from llmgate_plugins._gateway.departure import uuid7
from llmgate_plugins.errors import StorageError, UnknownCall
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Feedback, Ledger, Services

__all__ = ["about", "feedback_of"]

LONGEST_NAME = 128


def feedback_of(
    call_id: str,
    score: float,
    *,
    name: str,
    comment: str | None,
    source: str | None,
    id: str | None,
    services: Services,
) -> Feedback:
    """It as a value.

    Raises:
        ValueError: The score is not between 0 and 1, or a name is missing.
    """
    given: tuple[object, object, object] = (score, call_id, name)  # from people, and from the wire
    if not isinstance(given[0], int | float) or not 0 <= score <= 1:
        raise ValueError(f"a score is a number from 0 (useless) to 1 (perfect), not {score!r}")
    if not isinstance(given[1], str) or not call_id:
        raise ValueError(f"feedback is about a call, by its id; {call_id!r} is none")
    if not isinstance(given[2], str) or not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"the name of what is judged has 1 to {LONGEST_NAME} characters, not {name!r}")
    at = services.clock.time()
    return Feedback(
        id=id or uuid7(at, services.random),
        call_id=call_id,
        at=at,
        name=name,
        score=float(score),
        comment=comment,
        source=source,
    )


def about(feedback: Feedback, record: DecisionRecord | None, ledger: Ledger) -> Feedback:
    """The same, with the deployment it is about, by the record or the books.

    A call that is not in the books may still be on its way there, from another process; that
    is for a ledger to tell that other processes write as well.

    Raises:
        UnknownCall: The ledger is this process' own, and has no such call.
    """
    if record is not None:
        return replace(feedback, deployment=record.served_by)
    rows = []
    with suppress(StorageError):  # away: it takes the feedback later, and tells nobody now
        rows = ledger.calls(feedback.call_id)
    if rows:
        return replace(feedback, deployment=rows[-1]["served_by"])
    if not ledger.durable:
        raise UnknownCall(feedback.call_id)
    return feedback
