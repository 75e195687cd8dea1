"""The books: an intent before each attempt, its settlement after, a terminal row per call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar, cast

from llmgate_plugins._building import builder
from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.decisions import Skip, Wait
from llmgate_plugins.errors import StorageError
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.ledger import labels_of
from llmgate_plugins.plugins.estimates import probable_cost
from llmgate_plugins.plugins.holds import BOOKED_WITHIN, HOLDS, Hold
from llmgate_plugins.plugins.pending import all_of, then
from llmgate_plugins.promises import All, Kept, Promise
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
_SETTLING: Final[StashKey[list[Promise[bool] | Future[bool]]]] = StashKey("settling")
"""Settlements on their way."""
_OPENING: Final[StashKey[frozenset[int]]] = StashKey("opening")
"""Numbers of the attempts whose intents were handed over and waited for, but for those that were
told to have been skipped."""

_intent: Final = builder(AttemptIntent)
_settlement: Final = builder(Settlement)

T = TypeVar("T")
Begun = Skip | Wait | Awaitable[Skip | Wait | None] | Future[None] | None


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
        """Write the intent, and wait until it is as safe as the ledger promises.

        If that took long, what limits hold is confirmed before anything is sent.
        """
        number, opening = attempt.number, call.stashed(_OPENING) or _NONE
        holds = call.stashed(HOLDS)
        held = _NOTHING if holds is None else holds.get(number, _NOTHING)
        confirm = held.confirm
        if confirm is not None and number in opening:
            return cast("Begun", confirm())
        try:
            opened = _there(self._open(attempt, request, context, call, services, held))
        except StorageError:
            if not self._required:
                raise
            return Skip(UNBOOKED)
        if opened is None and confirm is None:
            return None
        call.stash[_OPENING] = opening | {number}
        from_thread = isinstance(opened, Promise | Future)
        if confirm is None and not (from_thread and self._required):
            return opened

        def told(_: object = None) -> Wait | None:
            late = confirm is not None and services.clock.monotonic() - held.at > BOOKED_WITHIN
            return Wait(0.0) if late else None  # and then it is confirmed

        if isinstance(opened, Promise | Future):
            return _answered(opened, told, required=self._required)
        return cast("Begun", then(opened, told))

    def _open(
        self,
        attempt: Attempt,
        request: Request,
        context: Context,
        call: Call,
        services: Services,
        held: Hold,
    ) -> MaybePending[None]:
        deployment = attempt.deployment
        record = call.record
        at, expires = services.clock.time(), held.expires
        if expires is None and attempt.deadline is not None:
            expires = at + attempt.deadline - services.clock.monotonic() + GRACE
        return services.ledger.open_attempt(
            _intent(
                call_id=attempt.call_id,
                number=attempt.number,
                at=at,
                deployment=deployment,
                alias=attempt.alias,
                reason=attempt.reason,
                estimate=0
                if deployment.price is None and request.quote is None
                else probable_cost(deployment, request),
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
        if outcome.status == "skipped":
            call.stash[_OPENING] = (call.stashed(_OPENING) or _NONE) - {attempt.number}
        settlement = _settlement(
            status=outcome.status,
            at=services.clock.time(),
            usage=outcome.usage,
            cost=outcome.cost,
            price=outcome.price,
            latency=outcome.latency,
            first_token=outcome.first_token,
            model=outcome.model,
            finish_reason=outcome.finish_reason,
        )
        failure = outcome.failure
        if failure is not None:
            settlement.error_class = failure.error_class.value
            settlement.scope = failure.scope.value
            settlement.code = failure.code
            settlement.http_status = failure.status
        settled = _there(services.ledger.settle_attempt(attempt.call_id, attempt.number, settlement))
        if isinstance(settled, bool):
            return None
        if isinstance(settled, Promise | Future):
            call.stash[_SETTLING] = [*(call.stashed(_SETTLING) or ()), settled]
            return None
        return settled

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call, services: Services) -> Any:
        """Write the call's terminal row."""
        ledger, opening = services.ledger, call.stashed(_OPENING)
        settling: list[Any] = []
        if opening:
            # Not sent, though their intents were handed over: the caller left while these waited for
            # them, or what limits held for them was lost meanwhile. Nobody is told of their ends.
            unsent = Settlement(status="skipped", at=services.clock.time())
            settling = [
                _there(ledger.settle_attempt(attempt.call_id, attempt.number, unsent))
                for attempt, outcome in record.attempts
                if outcome.status == "skipped" and attempt.number in opening
            ]
        closed = _there(ledger.close_call(record))
        settling = [*(call.stashed(_SETTLING) or ()), *filter(is_pending, settling)]
        if not settling:
            return closed
        answers = [*settling, closed]
        promises = [one for one in answers if isinstance(one, Promise)]
        return All(promises) if len(promises) == len(answers) else all_of(answers)

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
    if type(answer) is Kept:
        value: T = answer.value
        return value
    return answer.result() if isinstance(answer, Promise) and answer.done() else answer


def _answered(
    opened: Promise[None] | Future[None], told: Callable[[], Wait | None], *, required: bool
) -> Promise[Skip | Wait | None]:
    """`told()` once the intent is written; a failure means "skip it" where books are required."""
    answer: Promise[Skip | Wait | None] = Promise()

    def come(_: object) -> None:
        try:
            opened.result()
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever kept it out
            if required:
                answer.set_result(Skip(UNBOOKED))
            else:
                answer.set_exception(error)
        else:
            answer.set_result(told())

    opened.add_done_callback(come)
    return answer
