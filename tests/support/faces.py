"""Every way to make a call, so that a behaviour is told once and run on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

import pytest

from llmgate_plugins import Context, DecisionRecord, Gateway, Message, Request
from llmgate_plugins._engine.effects import Send

__all__ = ["FACES", "STREAMS", "WHOLE", "Told", "ask", "every_face", "every_stream", "every_whole"]


@dataclass(frozen=True)
class Told:
    """What the caller of one call got to know."""

    text: str
    error: BaseException | None
    record: DecisionRecord

    @property
    def tried(self) -> list[str]:
        return [attempt.deployment.id for attempt, _ in self.record.attempts]

    @property
    def statuses(self) -> list[str]:
        return [outcome.status for _, outcome in self.record.attempts]


def ask(
    face: str,
    gateway: Gateway,
    model: str = "fast",
    prompt: str = "hello",
    *,
    context: Context | None = None,
    take: int | None = None,
    tags: dict[str, str] | None = None,
) -> Told:
    """Make one call through this face; errors are told, not raised.

    `take`: leave a stream after so many chunks.
    """
    stream = face in STREAMS
    request = Request(
        model=model, messages=(Message(role="user", content=prompt),), stream=stream, tags=tags or {}
    )
    pieces: list[str] = []
    error: BaseException | None = None
    try:
        FACES[face](gateway, request, context, take, pieces)
    except Exception as raised:
        error = raised
    return Told(text="".join(pieces), error=error, record=gateway.decisions[-1])


def _sync(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    out.append(gateway.complete(request, context=context).text)


def _async(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    async def main() -> None:
        out.append((await gateway.acomplete(request, context=context)).text)

    asyncio.run(main())


def _stream(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    with closing(gateway.stream(request, context=context)) as chunks:  # type: ignore[type-var]
        for chunk in chunks:
            out.append(chunk.text)
            if take is not None and len(out) >= take:
                break


def _astream(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    async def main() -> None:
        async with aclosing(gateway.astream(request, context=context)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                out.append(chunk.text)
                if take is not None and len(out) >= take:
                    break

    asyncio.run(main())


def _stepped(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    transport = gateway.transport
    assert transport is not None
    steps = gateway.steps(request, context=context)
    step = next(steps)
    while isinstance(step, Send):
        try:
            answer = transport.send(step.attempt, step.request)
        except Exception as error:
            step = steps.throw(error)
        else:
            step = steps.send(answer)
    out.append(step.text)
    assert next(steps, None) is None


def _astepped(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    transport = gateway.transport
    assert transport is not None

    async def main() -> None:
        steps = gateway.asteps(request, context=context)
        step = await anext(steps)
        while isinstance(step, Send):
            try:
                answer = await transport.asend(step.attempt, step.request)
            except Exception as error:
                step = await steps.athrow(error)
            else:
                step = await steps.asend(answer)
        out.append(step.text)
        assert await anext(steps, None) is None

    asyncio.run(main())


FACES: dict[str, Callable[[Gateway, Request, Context | None, int | None, list[str]], None]] = {
    "sync": _sync,
    "async": _async,
    "stream": _stream,
    "astream": _astream,
    "stepped": _stepped,
    "astepped": _astepped,
}
STREAMS = ("stream", "astream")
WHOLE = ("sync", "async", "stepped", "astepped")

every_face: Any = pytest.mark.parametrize("face", FACES)
every_stream: Any = pytest.mark.parametrize("face", STREAMS)
every_whole: Any = pytest.mark.parametrize("face", WHOLE)
