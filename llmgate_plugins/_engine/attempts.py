"""The failover loop: one attempt after another until one answers, for whole answers and streams alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.dispatch import ask, first, settle, tell
from llmgate_plugins._engine.effects import Left, Pick, Send, Sleep
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.selection import select
from llmgate_plugins._engine.streaming import relay
from llmgate_plugins._registry import Implementation
from llmgate_plugins.decisions import GiveUp, NextDeployment, Recovery, Retry, Skip
from llmgate_plugins.errors import AllDeploymentsUnavailable, DeadlineExceeded, HookFailed, RequestDenied
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Attempt, AttemptReason, Deployment, Outcome

__all__ = ["serve"]

MOST_ATTEMPTS = 100
"""A stop for a failover plugin that never gives up. Far above what any policy allows."""


def serve(flight: Flight) -> Steps:
    """Returns the `Response`. A stream's chunks have been emitted by then.

    Raises:
        The first attempt's error, with a note per attempt, when every way is used up.
        AllDeploymentsUnavailable: Nothing could be tried.
        DeadlineExceeded: The time was over before the first attempt.
        StreamInterrupted: A stream broke after its first content.
    """
    request = flight.call.request
    chain = flight.core.routes.chain(request.model, request.fallbacks)
    reason: AttemptReason = "first"
    for place, alias in enumerate(chain):
        response, decision = yield from _serve_alias(flight, alias, chain[place + 1 :], reason)
        if response is not None:
            return response
        if type(decision) is GiveUp:
            break
        reason = "fallback"
    raise _failure(flight)


def _serve_alias(flight: Flight, alias: str, fallbacks: Sequence[str], reason: AttemptReason) -> Steps:
    """Returns (response or None, the decision that ended it)."""
    left, ranked = yield from select(flight, alias)
    untried = list(left)
    tried: dict[str, Deployment] = {}
    again: Deployment | None = None
    while untried or again is not None:
        if again is not None:
            deployment, again = again, None
        elif ranked or not flight.host_selects:
            deployment = untried.pop(0)
        else:
            deployment = yield Pick(tuple(untried), flight.call.request)
            untried.remove(deployment)
        tried[deployment.id] = deployment
        attempt = _attempt(flight, deployment, alias, reason)
        if attempt is None:
            return None, GiveUp()
        response, outcome = yield from _try(flight, attempt)
        if response is not None:
            return response, None
        reason = "next_deployment"
        if outcome.status == "skipped":
            continue
        decision = yield from _recover(flight, attempt, outcome, untried, fallbacks)
        if type(decision) is Retry:
            again = tried.get(decision.on or deployment.id, deployment)
            reason = "retry"
            if decision.after > 0:
                yield Sleep(decision.after)
        elif type(decision) is not NextDeployment:
            return None, decision
    return None, NextDeployment()


def _attempt(flight: Flight, deployment: Deployment, alias: str, reason: AttemptReason) -> Attempt | None:
    """The next attempt, or None when the call's time is over."""
    call, now = flight.call, flight.now()
    if call.deadline is not None and now >= call.deadline:
        return None
    number = len(call.record.attempts) + 1
    if number > MOST_ATTEMPTS:
        return None
    return Attempt(
        call_id=call.id,
        number=number,
        deployment=deployment,
        alias=alias,
        reason=reason,
        started=now,
        deadline=call.deadline,
    )


def _try(flight: Flight, attempt: Attempt) -> Steps:
    """Returns (response or None, outcome). Whatever happens, it is begun and ended in pairs."""
    call, core = flight.call, flight.core
    if core.hooks.begin_attempt:
        reason = yield from _begin(flight, attempt)
        if reason is not None:
            outcome = outcomes.skipped(reason)
            call.record.attempts.append((attempt, outcome))
            return None, outcome
    send = relay if call.request.stream else _send
    response, outcome, fatal = yield from send(flight, attempt)
    call.record.attempts.append((attempt, outcome))
    given = (attempt, outcome, call.request, call.context, call, core.services)
    yield from tell(flight, core.hooks.end_attempt, given)
    if fatal is not None:
        raise fatal
    if flight.primary is None:
        flight.primary = outcome.error
    return response, outcome


def _send(flight: Flight, attempt: Attempt) -> Steps:
    """Returns (response or None, outcome, what must be raised when the books are settled)."""
    try:
        response = yield Send(attempt, flight.call.request)
    except Left as leaving:
        return None, outcomes.left(flight, attempt, leaving), leaving
    except Exception as error:  # noqa: BLE001 - whatever a provider's client raises is a failed attempt
        return None, outcomes.broken(flight, attempt, error), None
    return response, outcomes.answered(flight, attempt, response), None


def _begin(flight: Flight, attempt: Attempt) -> Steps:
    """Asks every `begin_attempt`. Returns None to go ahead, or why to skip."""
    call, core = flight.call, flight.core
    begun: list[str] = []
    given = (attempt, call.request, call.context, call, core.services)
    for one in core.hooks.begin_attempt:
        try:
            reason = yield from _begin_one(flight, one, given)
        except Left as leaving:
            outcome = outcomes.skipped(leaving.status)
            call.record.attempts.append((attempt, outcome))
            yield from _end_begun(flight, attempt, outcome, begun)
            raise
        if reason is not None:
            yield from _end_begun(flight, attempt, outcomes.skipped(reason), begun)
            return reason
        begun.append(one.plugin)
    return None


def _begin_one(flight: Flight, one: Implementation, given: tuple[Any, ...]) -> Steps:
    """One plugin's word, asked again after each `Wait`. Returns why to skip, or None."""
    while True:
        try:
            answer = ask(one, given)
            if answer is not None:
                answer = yield from settle(one, answer)
        except (HookFailed, RequestDenied) as error:
            flight.report(one.plugin, one.hook, error.__cause__ or error)
            return None
        if answer is None:
            return None
        if isinstance(answer, Skip):
            return answer.reason
        if answer.seconds >= flight.call.remaining(flight.now()):
            return "wait_past_deadline"
        yield Sleep(answer.seconds)


def _end_begun(flight: Flight, attempt: Attempt, outcome: Outcome, begun: Sequence[str]) -> Steps:
    """Tells those who began an attempt that was never sent."""
    call, core = flight.call, flight.core
    told = tuple(one for one in core.hooks.end_attempt if one.plugin in begun)
    yield from tell(flight, told, (attempt, outcome, call.request, call.context, call, core.services))


def _recover(
    flight: Flight,
    attempt: Attempt,
    outcome: Outcome,
    untried: Sequence[Deployment],
    fallbacks: Sequence[str],
) -> Steps:
    """Returns a decision; a delay that does not fit the deadline is no retry."""
    call, core = flight.call, flight.core
    given = (attempt, outcome, tuple(untried), fallbacks, call.request, call.context, call, core.services)
    decision: Recovery | None = yield from first(flight, core.hooks.recover_attempt, given)
    if decision is None:
        return GiveUp()
    if isinstance(decision, Retry) and decision.after >= call.remaining(flight.now()):
        return NextDeployment()
    return decision


def _failure(flight: Flight) -> BaseException:
    """What the caller gets to see: the primary's own error, or that nothing could be tried."""
    record = flight.call.record
    if flight.primary is not None:
        _annotate(flight.primary, record)
        return flight.primary
    if flight.call.remaining(flight.now()) <= 0:
        return DeadlineExceeded(f"the call's time was over before {record.model!r} could be tried")
    reasons = {name: reason for one in record.selections for name, (reason, _) in one.dropped.items()}
    reasons |= {attempt.deployment.id: outcome.skipped or "" for attempt, outcome in record.attempts}
    return AllDeploymentsUnavailable(record.model, reasons)


def _annotate(error: BaseException, record: DecisionRecord) -> None:
    """One note per attempt, so that a log shows all of them and not just the first."""
    for attempt, outcome in record.attempts:
        failure = outcome.failure
        why = outcome.skipped or (failure.error_class.value if failure else outcome.status)
        status = f" (HTTP {failure.status})" if failure and failure.status else ""
        place = f"llmgate attempt {attempt.number}: {attempt.deployment.id}"
        error.add_note(f"{place}: {why}{status} after {outcome.latency:.2f} s")
