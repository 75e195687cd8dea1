"""The failover loop: one attempt after another until one answers, for whole answers and streams alike."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins._asking import Said
from llmgate_plugins._engine.beginning import begin, new_attempt
from llmgate_plugins._engine.dispatch import first, tell
from llmgate_plugins._engine.effects import Emit, Left, Pick, Sleep
from llmgate_plugins._engine.failing import annotated, failure_of
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.hedging import send_hedged
from llmgate_plugins._engine.second import select_twice
from llmgate_plugins._engine.selection import select
from llmgate_plugins._engine.sending import send
from llmgate_plugins._engine.way import Way
from llmgate_plugins.decisions import GiveUp, NextAlias, NextDeployment, Recovery, Reselect, Retry
from llmgate_plugins.errors import StreamInterrupted, UnknownModel
from llmgate_plugins.second_opinions import SECOND_OPINION
from llmgate_plugins.types import Attempt, AttemptReason, Deployment, ErrorClass, Outcome

__all__ = ["serve"]


def serve(flight: Flight) -> Steps:
    """Returns the `Response`. A stream's chunks have been emitted by then.

    An answer that was empty is returned only when every other way is used up.

    Raises:
        The first attempt's error, with a note per attempt, when every way is used up.
        AllDeploymentsUnavailable: Nothing could be tried.
        DeadlineExceeded: The time was over before the first attempt.
        StreamInterrupted: A stream broke after its first content.
    """
    request = flight.call.request
    ahead = list(flight.core.routes.chain(request.model, request.fallbacks))
    behind: list[str] = []
    reason: AttemptReason = "first"
    while ahead:
        alias = ahead.pop(0)
        behind.append(alias)
        flight.call.fallbacks = ahead
        try:
            response, decision = yield from _serve_alias(flight, alias, ahead, reason)
        except UnknownModel:
            if flight.primary is None:
                raise
            continue  # a plugin named a fallback that is not there
        if response is not None:
            return response
        if type(decision) is GiveUp:
            flight.call.record.reason = decision.reason
            break
        if type(decision) is Reselect:
            target = decision.alias or alias
            ahead = [target, *(name for name in ahead if name != target)]
            if target == alias:
                reason = "next_deployment" if flight.primary is not None else reason
                continue
        elif type(decision) is NextAlias and decision.to:
            ahead = [name for name in decision.to if name not in behind]
        reason = "fallback"
    if flight.empty is None or flight.delivered is not None:
        raise failure_of(flight)
    response, chunks = flight.empty
    for chunk in chunks:
        yield Emit(chunk)
    return response


def _serve_alias(flight: Flight, alias: str, fallbacks: Sequence[str], reason: AttemptReason) -> Steps:
    """Returns (response or None, the decision that ended it)."""
    selecting = select if flight.call.stashed(SECOND_OPINION) is None else select_twice
    left, ranked = yield from selecting(flight, alias)
    way = Way(left, ranked or not flight.host_selects)
    failed: tuple[Attempt, Outcome] | None = None
    flight.call.untried = way
    while way:
        deployment = way.next() if way.is_settled else (yield from _picked(flight, way))
        reason = way.reason or reason
        attempt = yield from new_attempt(flight, deployment, alias, reason, len(way) + len(fallbacks))
        if attempt is None:
            return None, GiveUp()
        response, outcome, attempt = yield from _try(flight, attempt, way)
        if response is not None:
            return response, None
        if flight.reselect is not None:
            decision, flight.reselect = flight.reselect, None
            return None, decision
        way.reason = "next_deployment"
        if outcome.status != "skipped":
            failed = (attempt, outcome)
        elif way or failed is None or attempt.reason == "retry":
            continue
        else:  # there seemed to be a sibling and there is none: what now, after that failure?
            (attempt, outcome), failed = failed, None
        if attempt.prefill is not None and outcome.failure.error_class is ErrorClass.INVALID_REQUEST:
            flight.plain |= {attempt.deployment.id}  # it does not go on from a beginning: ask it anew
            way.turn_back(attempt.deployment.id)
            continue
        decision = yield from _recover(flight, attempt, outcome, way.untried, fallbacks)
        if type(decision) is Retry:
            way.turn_back(decision.on or attempt.deployment.id)
            if decision.after > 0:
                yield Sleep(decision.after)
        elif type(decision) is not NextDeployment:
            return None, decision
        elif decision.among is not None:
            way.keep(decision.among)
    return None, NextDeployment()


def _picked(flight: Flight, way: Way) -> Steps:
    """Returns the deployment to try now, as the host picks."""
    picked = yield Pick(tuple(way), flight.call.request)
    way.take(picked)
    return picked


def _try(flight: Flight, attempt: Attempt, way: Way) -> Steps:
    """Returns (response or None, outcome, the attempt it is of). Whoever began is told the end."""
    steps = begin(flight, attempt)
    if steps is not None and (skipped := (yield from steps)) is not None:
        return None, skipped, attempt
    after = attempt.limits.hedge_after
    if after is not None and way.has_next and not flight.steps_out and flight.delivered is None:
        ended = yield from send_hedged(flight, attempt, way.next)
    else:
        response, outcome, fatal = yield from send(flight, attempt)
        ended = ((attempt, response, outcome, fatal),)
    # The last one is the one that counts; an earlier one was a hedge, or was hedged and lost.
    gone: Left | None = None
    for attempt, response, outcome, fatal in ended:  # noqa: B007
        if type(fatal) is Left:
            gone = fatal
        if (steps := settle_attempt(flight, attempt, outcome)) is not None:
            try:
                yield from steps
            except Left as leaving:  # one of them is told already, and so is the other
                gone = leaving
    if gone is not None:
        raise gone
    if fatal is not None:
        raise annotated(fatal, flight.call.record) if isinstance(fatal, StreamInterrupted) else fatal
    return response, outcome, attempt


def settle_attempt(flight: Flight, attempt: Attempt, outcome: Outcome) -> Steps | None:
    """Tell everybody how it ended. Returns the steps that this takes; None where it is done."""
    call, core = flight.call, flight.core
    call.record.attempts.append((attempt, outcome))
    if flight.primary is None:
        flight.primary = outcome.error
    told = core.hooks.end_attempt.ask_all
    said = told(attempt, outcome, call.request, call.context, call, core.services)
    if said is None and not attempt.around and not attempt.watchers:
        return None
    return _settled(flight, attempt, outcome, said)


def _settled(flight: Flight, attempt: Attempt, outcome: Outcome, said: Said | None) -> Steps:
    call, core = flight.call, flight.core
    given = (attempt, outcome, call.request, call.context, call, core.services)
    yield from tell(flight, core.hooks.end_attempt, given, said)
    attempt.around.clear()  # records are kept for long; what attempts hold on to is not
    attempt.watchers.clear()


def _recover(
    flight: Flight,
    attempt: Attempt,
    outcome: Outcome,
    untried: Sequence[Deployment],
    fallbacks: Sequence[str],
) -> Steps:
    """Returns a decision; a delay that does not fit the deadline is no retry."""
    call, core = flight.call, flight.core
    hook, services = core.hooks.recover_attempt, core.services
    given = (attempt, outcome, untried, tuple(fallbacks), call.request, call.context, call, services)
    decision: Recovery | None = yield from first(flight, hook, given, hook.ask_all(*given))
    if decision is None:
        return GiveUp()
    if isinstance(decision, Retry) and decision.after >= call.remaining(flight.now()):
        return NextDeployment()
    return decision
