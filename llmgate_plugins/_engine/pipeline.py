"""A call's life on one screen: admit, serve, review, end."""

from __future__ import annotations

from llmgate_plugins._engine.attempts import serve
from llmgate_plugins._engine.dispatch import ask, settle, tell
from llmgate_plugins._engine.effects import Emit, Left
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import HookFailed, LLMGateError, RequestDenied
from llmgate_plugins.records import CallStatus, DecisionRecord
from llmgate_plugins.shape import shape_of
from llmgate_plugins.types import Chunk, Response

__all__ = ["admit", "ask_admission", "carry_out", "dismiss", "note_failure", "whole_call"]


def whole_call(flight: Flight) -> Steps:
    """The whole life of a call. Emits its answer, or its chunks."""
    yield from admit(flight)
    yield from carry_out(flight)


def admit(flight: Flight) -> Steps:
    """Policy has its say; `call.request` and `call.answer` hold what it decided."""
    call = flight.call
    try:
        yield from ask_admission(flight)
    except Left as leaving:
        yield from _end(flight, leaving.status)
        _follow(flight)
        raise
    except (RequestDenied, HookFailed) as error:
        yield from _end_badly(flight, error)
        raise
    timeout = call.request.timeout
    if timeout is not None:
        until = call.started + timeout
        call.deadline = until if call.deadline is None else min(call.deadline, until)


def ask_admission(flight: Flight) -> Steps:
    """Ask every `admit_request`, until one answers the call itself.

    Raises:
        RequestDenied: A plugin denied it.
        HookFailed: A plugin failed.
    """
    call, core = flight.call, flight.core
    for one in core.hooks.admit_request:
        answer = ask(one, (call.request, call.context, call, core.services))
        if answer is not None:
            answer = yield from settle(one, answer)
        if answer is None:
            continue
        if isinstance(answer, Response):
            call.answer = answer.replace(call_id=call.id)
            call.record.denied_by = one.plugin
            break
        call.request = answer


def carry_out(flight: Flight) -> Steps:
    """An admitted call, to its end. Exactly one `end_call`, whatever happens."""
    call = flight.call
    try:
        response = call.answer
        if response is None:
            response = yield from serve(flight)
            streamed = call.request.stream
        else:
            streamed = False
        if flight.core.hooks.review_response:
            response = yield from _review(flight, response)
    except Left as leaving:
        yield from _end(flight, leaving.status)
        _follow(flight)
        raise
    except Exception as error:
        yield from _end_badly(flight, error)
        raise
    yield from _end(flight, "success" if call.answer is None else "answered")
    try:
        if not call.request.stream:
            yield Emit(response)
        elif not streamed:
            yield Emit(_as_chunk(response))
    finally:
        _follow(flight)


def dismiss(flight: Flight, status: CallStatus) -> Steps:
    """An admitted call that the host will not carry out: its one terminal event."""
    yield from _end(flight, status)
    _follow(flight)


def _review(flight: Flight, response: Response) -> Steps:
    call, core = flight.call, flight.core
    for one in core.hooks.review_response:
        answer = ask(one, (call.request, response, call.context, call, core.services))
        if answer is not None:
            response = (yield from settle(one, answer)) or response
    return response


def _end_badly(flight: Flight, error: Exception) -> Steps:
    note_failure(flight.call.record, error)
    if isinstance(error, LLMGateError):
        error.call_id = flight.call.id
    yield from _end(flight, "denied" if isinstance(error, RequestDenied) else "error")
    _follow(flight)


def note_failure(record: DecisionRecord, error: Exception) -> None:
    """What kept a call from an answer, and whose word that was."""
    if isinstance(error, RequestDenied):
        record.denied_by = error.plugin
        record.reason = error.code
    elif isinstance(error, HookFailed):
        record.denied_by = error.plugin
    record.error = f"{type(error).__name__}: {error}"


def _end(flight: Flight, status: CallStatus) -> Steps:
    call, core = flight.call, flight.core
    record = call.record
    record.status = status
    record.latency = flight.now() - call.started
    record.shape = shape_of(call.asked)
    yield from tell(flight, core.hooks.end_call, (record, call.request, call.context, call, core.services))
    core.remember(record)


def _follow(flight: Flight) -> None:
    """The caller has what there is: now others may follow."""
    if flight.call.follow_ups:
        flight.core.follow(flight.call, flight.transport)


def _as_chunk(response: Response) -> Chunk:
    """A plugin's own answer to a streamed call: one chunk."""
    message = response.message
    return Chunk(
        text=message.text,
        tool_calls=message.tool_calls,
        usage=response.usage,
        finish_reason=response.finish_reason,
        model=response.model,
        native=response.native,
    )
