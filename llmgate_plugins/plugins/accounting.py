"""The books: an intent before each attempt, its settlement after, a terminal row per call."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from opentelemetry import trace

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Skip
from llmgate_plugins.errors import StorageError
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.ledger import labels_of
from llmgate_plugins.plugins.estimates import probable_cost
from llmgate_plugins.plugins.holds import HOLDS, Hold
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.promises import All, Promise
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import AttemptIntent, MaybePending, Services, Settlement, is_pending
from llmgate_plugins.types import EMPTY, Attempt, Outcome, Request

__all__ = ["LedgerAccounting"]

GRACE: Final = 60.0
"""Seconds after a call's deadline in which an attempt of a process that lives is settled for sure."""
UNBOOKED: Final = "ledger"
"""Why an attempt is skipped whose intent cannot be written."""

_NOTHING: Final = Hold()
_NONE: Final[frozenset[int]] = frozenset()
_LEFT: Final = ("cancelled", "abandoned")
_SETTLING: Final[StashKey[list[Promise[bool] | Future[bool]]]] = StashKey("settling")
"""Settlements on their way."""
_OPENING: Final[StashKey[frozenset[int]]] = StashKey("opening")
"""Numbers of the attempts whose intents were handed over and waited for."""

T = TypeVar("T")
Begun = Skip | Awaitable[None] | Future[None] | Awaitable[Skip | None] | None


class LedgerAccounting:
    """Writes every attempt and every call to the gateway's ledger.

    The intent is written before anything is sent, with what the attempt will probably
    cost and what limits hold for it, so that a crash leaves a row to recover. It is settled
    exactly once. One that was never sent after its intent was written, because a later plugin
    skipped it or the caller left, is settled as skipped, at no cost.

    Labels of a row: facts of the context under their own names, further facts under
    "extra:NAME", the caller's tags under "tag:NAME", so that no tag can pass for a fact.

    Run it last: what others refuse then leaves no trace of an attempt.

    Args:
        required: Whether an attempt whose intent cannot be written is skipped ("ledger"), since
            nothing may be sent that is not booked. Else it is sent, and the failure noted.
    """

    def __init__(self, *, required: bool = False) -> None:
        self._required = required
        self._last: tuple[Context, Mapping[str, str]] = (Context(), EMPTY)

    @hookimpl
    def begin_attempt(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> Begun:
        """Write the intent, and wait until it is as safe as the ledger promises."""
        try:
            opened = _there(self._open(attempt, request, context, call, services))
        except StorageError:
            if not self._required:
                raise
            return Skip(UNBOOKED)
        if opened is None:
            return None
        call.stash[_OPENING] = (call.stashed(_OPENING) or _NONE) | {attempt.number}
        return _or_skip(opened) if self._required and isinstance(opened, Promise | Future) else opened

    def _open(
        self, attempt: Attempt, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[None]:
        deployment = attempt.deployment
        record = call.record
        if record.trace_id is None:
            record.trace_id = _trace_id()
        holds = call.stashed(HOLDS)
        held = _NOTHING if holds is None else holds.get(attempt.number, _NOTHING)
        at, expires = services.clock.time(), held.expires
        if expires is None and attempt.deadline is not None:
            expires = at + attempt.deadline - services.clock.monotonic() + GRACE
        return services.ledger.open_attempt(
            AttemptIntent(
                call_id=attempt.call_id,
                number=attempt.number,
                at=at,
                deployment=deployment,
                alias=attempt.alias,
                reason=attempt.reason,
                estimate=probable_cost(deployment, request) if deployment.price is not None else 0,
                reserve=held.nano_usd,
                reserve_tokens=held.tokens,
                expires=expires,
                labels=self._labels(context, request.tags),
                call=record,
                selection=len(record.selections),
            )
        )

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call, services: Services) -> Any:
        """Settle it, once. Nobody waits for that before the call ends."""
        failure = outcome.failure
        ending = services.ledger.settle_attempt(
            attempt.call_id,
            attempt.number,
            Settlement(
                status=outcome.status,
                at=services.clock.time(),
                usage=outcome.usage,
                cost=outcome.cost,
                price=outcome.price,
                latency=outcome.latency,
                first_token=outcome.first_token,
                model=outcome.model,
                error_class=failure.error_class.value if failure is not None else None,
                scope=failure.scope.value if failure is not None else None,
                code=failure.code if failure is not None else None,
                http_status=failure.status if failure is not None else None,
                finish_reason=outcome.finish_reason,
            ),
        )
        settled = _there(ending)
        if isinstance(settled, Promise | Future):
            call.stash[_SETTLING] = [*(call.stashed(_SETTLING) or ()), settled]
            return None
        return None if isinstance(settled, bool) else settled

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call, services: Services) -> Any:
        """Write the call's terminal row."""
        ledger, opening = services.ledger, call.stashed(_OPENING) or ()
        # The caller left while these waited for their intents: nobody is told of their ends.
        unsent = [
            _there(
                ledger.settle_attempt(
                    attempt.call_id, attempt.number, Settlement(status="skipped", at=services.clock.time())
                )
            )
            for attempt, outcome in record.attempts
            if outcome.skipped in _LEFT and attempt.number in opening
        ]
        closed = _there(ledger.close_call(record))
        settling = [*(call.stashed(_SETTLING) or ()), *filter(is_pending, unsent)]
        if not settling:
            return closed
        answers = [*settling, closed]
        promises = [one for one in answers if isinstance(one, Promise)]
        return All(promises) if len(promises) == len(answers) else _all_of(answers)

    def _labels(self, context: Context, tags: Mapping[str, str]) -> Mapping[str, str]:
        known, labels = self._last
        if known is not context:
            labels = labels_of(context)
            self._last = (context, labels)  # one assignment: threads see the old pair or the new
        if not tags:
            return labels
        return {**labels, **{f"tag:{name}": value for name, value in tags.items()}}


def _there(answer: MaybePending[T]) -> MaybePending[T]:
    """The answer itself, if it has come already. Raises what was given in its place."""
    return answer.result() if isinstance(answer, Promise) and answer.done() else answer


def _or_skip(opened: Promise[None] | Future[None]) -> Promise[Skip | None]:
    """The same answer, but a failure means that the attempt is not sent."""
    answer: Promise[Skip | None] = Promise()

    def told(_: object) -> None:
        try:
            opened.result()
        except (Exception, CancelledError):  # noqa: BLE001 - whatever kept it out
            answer.set_result(Skip(UNBOOKED))
        else:
            answer.set_result(None)

    opened.add_done_callback(told)
    return answer


async def _all_of(answers: Sequence[MaybePending[Any]]) -> None:
    for answer in answers:
        await arrived(answer)


def _trace_id() -> str | None:
    """Of the trace that the application is in, if it is in one."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
