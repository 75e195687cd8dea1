"""Before anything is sent: an attempt with its limits, and the word of everybody who reserves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from llmgate_plugins._asking import Implementation, Said
from llmgate_plugins._building import builder
from llmgate_plugins._engine import outcomes
from llmgate_plugins._engine.dispatch import first, settle, tell
from llmgate_plugins._engine.effects import Left, Sleep
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.decisions import Reselect, Skip, Wait
from llmgate_plugins.errors import HookFailed, RequestDenied
from llmgate_plugins.limits import UNLIMITED, Limits
from llmgate_plugins.types import Attempt, AttemptReason, Deployment, Outcome

__all__ = ["begin", "new_attempt"]

MOST_ATTEMPTS: Final = 100
"""A stop for a failover plugin that never gives up. Far above what any policy allows."""
PREFILL: Final = "assistant_prefill"
"""The capability of going on from the beginning of an answer."""

_attempt: Final = builder(Attempt)


def new_attempt(
    flight: Flight, deployment: Deployment, alias: str, reason: AttemptReason, alternatives: int
) -> Steps:
    """Returns the next attempt, or None when the call's time is over."""
    call, hooks = flight.call, flight.core.hooks
    request, context, services = call.request, call.context, flight.core.services
    said = hooks.limit_attempt.ask_all(deployment, alternatives, request, context, call, services)
    if said is None:
        limits = UNLIMITED
    elif type(said[1]) is Limits:
        limits = said[1]
    else:
        given = (deployment, alternatives, request, context, call, services)
        limits = (yield from first(flight, hooks.limit_attempt, given, said)) or UNLIMITED
    now = flight.now()
    if call.deadline is not None and now >= call.deadline:
        return None
    flight.count += 1
    if flight.count > MOST_ATTEMPTS:
        return None
    return _attempt(
        call_id=call.id,
        number=flight.count,
        deployment=deployment,
        alias=alias,
        reason=reason,
        started=now,
        deadline=call.deadline,
        limits=limits,
        prefill=_prefill(flight, deployment) if flight.delivered else None,
    )


def _prefill(flight: Flight, deployment: Deployment) -> str | None:
    """What a deployment that can go on from it is given of the answer so far.

    Without the white space at its end, which some providers refuse there.
    """
    if flight.on_break != "resume" or PREFILL not in deployment.capabilities or deployment.id in flight.plain:
        return None
    return (flight.delivered or "").rstrip() or None


def begin(flight: Flight, attempt: Attempt) -> Steps | None:
    """Asks every `begin_attempt`.

    Returns the steps that this takes, None where nobody has anything to say. They return None
    to go ahead, or the outcome of what is skipped.

    Raises:
        RequestDenied: A plugin denied a call of which nothing was sent.
    """
    call, core = flight.call, flight.core
    said = core.hooks.begin_attempt.ask_all(attempt, call.request, call.context, call, core.services)
    return None if said is None else _begun(flight, attempt, said)


def _begun(flight: Flight, attempt: Attempt, said: Said | None) -> Steps:
    call, hook = flight.call, flight.core.hooks.begin_attempt
    given = (attempt, call.request, call.context, call, flight.core.services)
    while said is not None:
        place, answer, error = said
        one = hook[place]
        try:
            answer = yield from _insisted(flight, one, answer, error, given)
        except Left as leaving:
            outcome = outcomes.skipped(leaving.status)
            call.record.attempts.append((attempt, outcome))
            yield from _end_begun(flight, attempt, outcome, hook[:place])
            raise
        except RequestDenied as denial:
            denial.plugin = denial.plugin or one.plugin
            outcome = outcomes.skipped(denial.code, denial.plugin)
            yield from _end_begun(flight, attempt, outcome, hook[:place])
            call.record.attempts.append((attempt, outcome))
            if attempt.reason == "hedge" or flight.primary is not None:
                return outcome
            raise
        except Exception as failure:  # noqa: BLE001 - accounting is isolated, whatever it raises
            cause = failure.__cause__ if isinstance(failure, HookFailed) else None
            flight.report(one.plugin, one.hook, cause or failure)
            answer = None
        if answer is not None:
            outcome = outcomes.skipped(answer.reason, one.plugin)
            if isinstance(answer, Reselect):
                flight.reselect = answer
            elif answer.until is not None:
                flight.free_at = {**flight.free_at, attempt.deployment.id: answer.until}
            yield from _end_begun(flight, attempt, outcome, hook[:place])
            call.record.attempts.append((attempt, outcome))
            return outcome
        said = hook.ask_from(place + 1, given)
    return None


def _insisted(
    flight: Flight, one: Implementation, answer: Any, error: Exception | None, given: tuple[Any, ...]
) -> Steps:
    """A plugin has said something: it is asked again after each `Wait`. Returns the last word, or None."""
    answer = yield from settle(one, answer, error)
    while isinstance(answer, Wait):
        if answer.seconds >= flight.call.remaining(flight.now()):
            return Skip("wait_past_deadline")
        yield Sleep(answer.seconds)
        # The deployment's time begins when the attempt is sent, not while it waits its turn.
        object.__setattr__(given[0], "started", flight.now())
        if flight.call.remaining(flight.now()) <= 0:  # a sleep may last a little longer than asked
            return Skip("wait_past_deadline")
        answer = one.ask(*given)
        if answer is not None:
            answer = yield from settle(one, answer)
    return answer


def _end_begun(flight: Flight, attempt: Attempt, outcome: Outcome, begun: Iterable[Implementation]) -> Steps:
    """Tells those who began an attempt that was never sent."""
    call, core = flight.call, flight.core
    told = core.hooks.end_attempt.of(frozenset([one.plugin for one in begun]))
    given = (attempt, outcome, call.request, call.context, call, core.services)
    yield from tell(flight, told, given, told.ask_all(*given))
