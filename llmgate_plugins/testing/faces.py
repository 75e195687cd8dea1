"""Every way to make a call, so that a behaviour is told once and run on all of them.

@pytest.mark.parametrize("face", FACES)
def test_it_answers(face):
    assert ask(face, gateway, "fast", "hello").text == "hello to you"
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, closing
from dataclasses import dataclass

from llmgate_plugins.context import Context
from llmgate_plugins.gateway import Gateway, Send
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import Message, Request

__all__ = ["FACES", "STREAMS", "WHOLE", "Told", "ask"]


@dataclass(frozen=True)
class Told:
    """What the caller of one call got to know.

    Attributes:
        text: The answer, as far as it came.
        error: What was raised, if anything.
        record: The call's decision record.
    """

    text: str
    error: BaseException | None
    record: DecisionRecord

    @property
    def tried(self) -> list[str]:
        """Ids of the deployments tried, in order."""
        return [attempt.deployment.id for attempt, _ in self.record.attempts]

    @property
    def statuses(self) -> list[str]:
        """How each attempt ended."""
        return [outcome.status for _, outcome in self.record.attempts]


def ask(
    face: str,
    gateway: Gateway,
    model: str | Request = "fast",
    prompt: str = "hello",
    *,
    context: Context | None = None,
    take: int | None = None,
    tags: dict[str, str] | None = None,
) -> Told:
    """Make one call through this face; errors are told, not raised.

    Args:
        face: One of `FACES`.
        model: An alias, to be asked `prompt`; or a whole request.
        take: Leave a stream after so many chunks.
    """
    stream = face in STREAMS
    if isinstance(model, Request):
        request = model.replace(stream=stream)
    else:
        messages = (Message(role="user", content=prompt),)
        request = Request(model=model, messages=messages, stream=stream, tags=tags or {})
    pieces: list[str] = []
    error: BaseException | None = None
    try:
        CALLERS[face](gateway, request, context, take, pieces)
    except Exception as raised:  # noqa: BLE001 - it is told
        error = raised
    return Told(text="".join(pieces), error=error, record=gateway.decisions[-1])


def _sync(
    gateway: Gateway, request: Request, context: Context | None, _take: int | None, out: list[str]
) -> None:
    out.append(gateway.complete(request, context=context).text)


def _async(
    gateway: Gateway, request: Request, context: Context | None, _take: int | None, out: list[str]
) -> None:
    async def main() -> None:
        out.append((await gateway.acomplete(request, context=context)).text)

    asyncio.run(main())


def _stream(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    with closing(gateway.stream(request, context=context)) as chunks:
        for chunk in chunks:
            out.append(chunk.text)
            if take is not None and len(out) >= take:
                break


def _astream(
    gateway: Gateway, request: Request, context: Context | None, take: int | None, out: list[str]
) -> None:
    async def main() -> None:
        async with aclosing(gateway.astream(request, context=context)) as chunks:
            async for chunk in chunks:
                out.append(chunk.text)
                if take is not None and len(out) >= take:
                    break

    asyncio.run(main())


def _stepped(
    gateway: Gateway, request: Request, context: Context | None, _take: int | None, out: list[str]
) -> None:
    transport = gateway.transport
    if transport is None:
        raise ValueError("stepping needs a gateway with a transport")
    steps = gateway.steps(request, context=context)
    step = next(steps)
    while isinstance(step, Send):
        try:
            with step.attempt.entered():
                answer = transport.send(step.attempt, step.request)
        except Exception as error:  # noqa: BLE001 - the engine decides what it means
            step = steps.throw(error)
        else:
            step = steps.send(answer)
    out.append(step.text)


def _astepped(
    gateway: Gateway, request: Request, context: Context | None, _take: int | None, out: list[str]
) -> None:
    transport = gateway.transport
    if transport is None:
        raise ValueError("stepping needs a gateway with a transport")

    async def main() -> None:
        steps = gateway.asteps(request, context=context)
        step = await anext(steps)
        while isinstance(step, Send):
            try:
                with step.attempt.entered():
                    answer = await transport.asend(step.attempt, step.request)
            except Exception as error:  # noqa: BLE001 - the engine decides what it means
                step = await steps.athrow(error)
            else:
                step = await steps.asend(answer)
        out.append(step.text)
        await steps.aclose()

    asyncio.run(main())


CALLERS: dict[str, Callable[[Gateway, Request, Context | None, int | None, list[str]], None]] = {
    "sync": _sync,
    "async": _async,
    "stream": _stream,
    "astream": _astream,
    "stepped": _stepped,
    "astepped": _astepped,
}
FACES = tuple(CALLERS)
"""sync, async, stream, astream, stepped, astepped."""
STREAMS = ("stream", "astream")
WHOLE = ("sync", "async", "stepped", "astepped")
