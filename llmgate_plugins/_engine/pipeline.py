"""A call's life on one screen: admit, serve, review, end."""

from __future__ import annotations

from typing import Final

from llmgate_plugins._asking import Said
from llmgate_plugins._building import builder
from llmgate_plugins._engine.attempts import serve
from llmgate_plugins._engine.dispatch import settle, tell
from llmgate_plugins._engine.echoes import said_by
from llmgate_plugins._engine.effects import Emit, Left
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.origins import may_have_made
from llmgate_plugins.context import Call
from llmgate_plugins.errors import HookFailed, LLMGateError, RequestDenied
from llmgate_plugins.records import CallStatus, DecisionRecord
from llmgate_plugins.shape import shape_of
from llmgate_plugins.types import Chunk, Response

__all__ = ["admit", "ask_admission", "carry_out", "dismiss", "note_failure"]

_emit: Final = builder(Emit)


def admit(flight: Flight) -> Steps | None:
    """Policy has its say; `call.request` and `call.answer` hold what it decided.

    Returns the steps that this takes; None where it is done.
    """
    asking = ask_admission(flight)
    if asking is not None:
        return _admitted(flight, asking)
    if flight.call.request.timeout is not None:
        _bound(flight.call)
    return None


def _admitted(flight: Flight, asking: Steps) -> Steps:
    try:
        yield from asking
    except Left as leaving:
        yield from _end(flight, leaving.status) or ()
        _follow(flight)
        raise
    except (RequestDenied, HookFailed) as error:
        yield from _end_badly(flight, error)
        raise
    _bound(flight.call)


def _bound(call: Call) -> None:
    """The request may shorten the call's time, and nothing more."""
    timeout = call.request.timeout
    if timeout is not None:
        until = call.started + timeout
        call.deadline = until if call.deadline is None else min(call.deadline, until)


def ask_admission(flight: Flight) -> Steps | None:
    """Ask every `admit_request`, until one answers the call itself.

    An answer that names the deployment which made it counts where that might serve this call.
    Returns the steps that this takes; None where nobody has anything to say.

    Raises:
        RequestDenied: A plugin denied it.
        HookFailed: A plugin failed.
    """
    call, core = flight.call, flight.core
    said = core.hooks.admit_request.ask_all(call.request, call.context, call, core.services)
    return None if said is None else _admission(flight, said)


def _admission(flight: Flight, said: Said | None) -> Steps:
    call, core = flight.call, flight.core
    hook = core.hooks.admit_request
    while said is not None:
        place, answer, error = said
        answer = yield from settle(hook[place], answer, error)
        if isinstance(answer, Response):
            plugin = hook[place].plugin
            for made_by in (answer.deployment_id, *answer.begun_by):
                if made_by is not None and not (yield from may_have_made(flight, made_by)):
                    _note_origin(call.record, plugin, made_by)
                    break
            else:
                call.answer = answer.replace(call_id=call.id)
                call.record.denied_by = plugin
                break
        elif answer is not None:
            stream = call.request.stream  # whoever reads the answer has begun to do so, one way or the other
            call.request = answer if answer.stream is stream else answer.replace(stream=stream)
        said = hook.ask_from(place + 1, (call.request, call.context, call, core.services))


def _note_origin(record: DecisionRecord, plugin: str, made_by: str) -> None:
    said = f"the answer of {plugin} was made by {made_by}, which may not serve this call"
    record.notes = {**record.notes, "answers": [*record.notes.get("answers", ()), said]}


def carry_out(flight: Flight, *, admitted: bool = False) -> Steps:
    """A call to its end. Emits its answer, or its chunks. Exactly one `end_call`, whatever happens.

    Args:
        admitted: Whether policy has had its say already.
    """
    call = flight.call
    if not admitted and (steps := admit(flight)) is not None:
        yield from steps
    try:
        response = call.answer
        if response is None:
            response = yield from serve(flight)
            streamed = call.request.stream
        else:
            streamed = False
        core = flight.core
        said = core.hooks.review_response.ask_all(call.request, response, call.context, call, core.services)
        if said is not None:
            response = yield from _review(flight, response, said)
    except Left as leaving:
        yield from _end(flight, leaving.status) or ()
        _follow(flight)
        raise
    except Exception as error:
        yield from _end_badly(flight, error)
        raise
    steps = _end(flight, "success" if call.answer is None else "answered")
    if steps is not None:
        yield from steps
    try:
        if not call.request.stream:
            yield _emit(response)
        elif not streamed:
            yield Emit(_as_chunk(response))
    finally:
        _follow(flight)


def dismiss(flight: Flight, status: CallStatus) -> Steps:
    """An admitted call that the host will not carry out: its one terminal event."""
    yield from _end(flight, status) or ()
    _follow(flight)


def _review(flight: Flight, response: Response, said: Said | None) -> Steps:
    call, core = flight.call, flight.core
    hook = core.hooks.review_response
    while said is not None:
        place, answer, error = said
        response = (yield from settle(hook[place], answer, error)) or response
        said = hook.ask_from(place + 1, (call.request, response, call.context, call, core.services))
    return response


def _end_badly(flight: Flight, error: Exception) -> Steps:
    note_failure(flight.call, error)
    if isinstance(error, LLMGateError):
        error.call_id = flight.call.id
    yield from _end(flight, "denied" if isinstance(error, RequestDenied) else "error") or ()
    _follow(flight)


def note_failure(call: Call, error: Exception) -> None:
    """What kept a call from an answer, and whose word that was."""
    record = call.record
    if isinstance(error, RequestDenied):
        record.denied_by = error.plugin
        record.reason = error.code
    elif isinstance(error, HookFailed):
        record.denied_by = error.plugin
    record.error = said_by(error, call.request)


def _end(flight: Flight, status: CallStatus) -> Steps | None:
    """Returns the steps that telling it takes; None where it is told."""
    call, core = flight.call, flight.core
    record = call.record
    record.status = status
    record.latency = flight.now() - call.started
    record.shape = shape_of(call.asked)
    said = core.hooks.end_call.ask_all(record, call.request, call.context, call, core.services)
    if said is not None:
        return _ended(flight, said)
    core.remember(record)
    return None


def _ended(flight: Flight, said: Said | None) -> Steps:
    call, core = flight.call, flight.core
    given = (call.record, call.request, call.context, call, core.services)
    yield from tell(flight, core.hooks.end_call, given, said)
    core.remember(call.record)


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
