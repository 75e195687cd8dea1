"""What a failure means, and what the caller gets to see of it in the end."""

from __future__ import annotations

from llmgate_plugins._engine.dispatch import first
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import AllDeploymentsUnavailable, DeadlineExceeded, StreamInterrupted
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Attempt, Failure

__all__ = ["annotated", "classified", "failure_of", "interrupted"]


def classified(flight: Flight, attempt: Attempt, error: Exception) -> Steps:
    """Returns the `Failure`: the first plugin's opinion, else what the tables say.

    The tables read the error in any case, since that also takes credentials out of it.
    """
    built_in = flight.core.classify(error)
    hook = flight.core.hooks.classify_error
    if not hook:
        return built_in
    call = flight.call
    given = (error, attempt, call.request, call.context, call, flight.core.services)
    opinion: Failure | None = yield from first(flight, hook, given, hook.ask_all(*given))
    return opinion or built_in


def failure_of(flight: Flight) -> BaseException:
    """What the caller gets to see: the primary's own error, or that nothing could be tried."""
    record = flight.call.record
    if flight.delivered is not None:
        return annotated(interrupted(flight), record)
    if flight.primary is not None:
        return annotated(flight.primary, record)
    if flight.call.remaining(flight.now()) <= 0:
        return DeadlineExceeded(f"the call's time was over before {record.model!r} could be tried")
    reasons: dict[str, str] = {}
    until = dict(flight.free_at)
    for one in record.selections:
        reasons |= {name: reason for name, (reason, _) in one.dropped.items()}
        until |= one.until
    reasons |= {attempt.deployment.id: outcome.skipped or "" for attempt, outcome in record.attempts}
    soonest = min((until[name] for name in reasons if name in until), default=None)
    return AllDeploymentsUnavailable(record.model, reasons, retry_at=soonest)


def interrupted(flight: Flight) -> StreamInterrupted:
    """A stream broke after its first content, and nothing went on with it."""
    error, partial = flight.broke, flight.delivered or ""
    told = StreamInterrupted(
        f"the stream broke after {len(partial)} characters: {type(error).__name__}: {error}", partial=partial
    )
    told.__cause__ = error
    return told


def annotated(error: BaseException, record: DecisionRecord) -> BaseException:
    """The error with one note per attempt, so that a log shows all of them and not just the first."""
    for attempt, outcome in record.attempts:
        failure = outcome.failure
        why = outcome.skipped or (failure.error_class.value if failure else outcome.status)
        status = f" (HTTP {failure.status})" if failure and failure.status else ""
        place = f"llmgate attempt {attempt.number}: {attempt.deployment.id}"
        error.add_note(f"{place}: {why}{status} after {outcome.latency:.2f} s")
    if record.reason:
        error.add_note(f"llmgate gave up: {record.reason}")
    return error
