"""What a scripted provider can do with one attempt, played as effects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, Union

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.testing.faults import REFUSALS, Fault
from llmgate_plugins.types import Chunk, Request, Response, Usage
from llmgate_plugins.usage import estimate_tokens

__all__ = ["Hang", "Pause", "Slow", "Step", "Stream", "counted_usage", "error_of"]


class Stream:
    """An answer in these pieces, whole or broken.

    Args:
        pieces: Texts or chunks, sent one by one; `Pause(seconds)` between them makes it
            drip, `Hang()` stall.
        then: Raised after the last piece; with no pieces, before the first chunk.
        finish_reason: Without `then`, how a whole answer ends; None ends the stream
            cleanly but cut short, as a broken proxy does.
    """

    def __init__(
        self,
        *pieces: str | Chunk | Pause | Hang,
        then: BaseException | Fault | None = None,
        finish_reason: str | None = "stop",
    ) -> None:
        self.pieces = pieces
        self.then = then
        self.finish_reason = finish_reason


@dataclass(frozen=True, slots=True)
class Hang:
    """Never answers.

    An event loop can cancel it. A thread is held until the attempt's deadline, if the
    provider was given a clock, else for `cap` real seconds; then `TimeoutError` is raised.
    """

    cap: float = 30.0


@dataclass(frozen=True, slots=True)
class Slow:
    """Does something after some seconds, slept by the provider's sleeper."""

    seconds: float
    step: Step = "ok"


Step: TypeAlias = Union[  # noqa: UP007 - an annotation above refers to it by name
    str, Response, Stream, Hang, Slow, Fault, BaseException, Callable[[Request], Any]
]
"""One of: a text or a `Response` (answered whole, or streamed), `Stream`, `Fault` or an
exception (raised), `Hang`, `Slow`, or a function from the request to one of these."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let so many seconds pass, slept by the provider's sleeper."""

    seconds: float


def error_of(fault: Fault) -> ProviderError:
    """A fresh error as a provider's client would raise it for this fault.

    Raises:
        ValueError: The fault is one of the wire; in process there is none.
    """
    headers = {**fault.headers, **fault.retry_headers(now=0.0)}
    if fault.kind in {"connection", "reset"}:
        error = ProviderError(fault.message or "Connection error.", code=fault.code or "connection")
        error.__cause__ = ConnectionResetError(104, "Connection reset by peer")
        return error
    refusal = REFUSALS.get(fault.kind)
    if refusal is None:
        raise ValueError(
            f"Fault({fault.kind!r}) needs a wire: use ProviderSimulator, or Stream(...), Hang() or Slow(...)"
        )
    message, code = fault.message or refusal.message, fault.code or refusal.code
    body = fault.body or {"error": {"message": message, "type": refusal.type, "param": None, "code": code}}
    return ProviderError(
        message, status=fault.status or refusal.status, code=code or refusal.type, headers=headers, body=body
    )


def counted_usage(request: Request, text: str) -> Usage:
    """What a provider would report, by a simple count of characters."""
    asked = sum(3 + estimate_tokens(len(message.text)) for message in request.messages)
    return Usage(input=max(asked, 1), output=estimate_tokens(len(text)))


def play(
    step: Step, request: Request, model: str, usage: Usage | None, prefill: str | None = None
) -> Iterator[Chunk | Pause | Hang]:
    """The chunks of an answer, with what has to be waited for; raises as the step says.

    Args:
        usage: Reported at the end of a whole answer.
        prefill: The beginning of the answer, as the request has it: an answer that begins
            with it goes on after it.
    """
    match step:
        case str():
            yield from _whole(Response.of(_after(prefill, step)), model, usage)
        case Response():
            yield from _whole(_rest_of(step, prefill), model, usage)
        case Stream():
            yield from _pieces(step, model, prefill)
            if step.then is not None:
                raise error_of(step.then) if isinstance(step.then, Fault) else step.then
            if step.finish_reason is not None:
                yield Chunk(finish_reason=step.finish_reason, usage=usage, model=model)
        case Hang():
            yield step
        case Slow():
            yield Pause(step.seconds)
            yield from play(step.step, request, model, usage, prefill)
        case Fault():
            raise error_of(step)
        case BaseException():
            raise step
        case _:
            yield from play(step(request), request, model, usage, prefill)


def _after(prefill: str | None, text: str) -> str:
    return text.removeprefix(prefill) if prefill else text


def _rest_of(answer: Response, prefill: str | None) -> Response:
    if not prefill or not answer.text.startswith(prefill):
        return answer
    return answer.replace(source=replace(answer.message, content=_after(prefill, answer.text)))


def _pieces(stream: Stream, model: str, prefill: str | None) -> Iterator[Chunk | Pause | Hang]:
    """A stream's pieces, without the text that the request has given already."""
    given = len(prefill) if prefill and text_of(stream).startswith(prefill) else 0
    for piece in stream.pieces:
        chunk = Chunk(text=piece, model=model) if isinstance(piece, str) else piece
        if given and isinstance(chunk, Chunk) and chunk.text:
            left, given = chunk.text[given:], max(given - len(chunk.text), 0)
            if not left:
                continue
            chunk = replace(chunk, text=left)
        yield chunk


def text_of(step: Step) -> str:
    """The text it would answer, as far as that can be said beforehand."""
    match step:
        case str():
            return step
        case Response():
            return step.text
        case Stream():
            return "".join(
                piece if isinstance(piece, str) else piece.text
                for piece in step.pieces
                if isinstance(piece, str | Chunk)
            )
        case Slow():
            return text_of(step.step)
        case _:
            return ""


def _whole(answer: Response, model: str, usage: Usage | None) -> Iterator[Chunk]:
    model = answer.model or model
    for piece in re.findall(r"\s*\S+|\s+\Z", answer.text):
        yield Chunk(text=piece, model=model)
    for call in answer.message.tool_calls:
        yield Chunk(tool_calls=(call,), model=model)
    calls = bool(answer.message.tool_calls) and answer.finish_reason == "stop"
    reason = "tool_calls" if calls else answer.finish_reason
    yield Chunk(finish_reason=reason, usage=answer.usage or usage, model=model)
