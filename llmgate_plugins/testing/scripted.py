"""A provider in process that does what a script says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing

from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.services import Clock, Sleeper, SystemSleeper
from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.steps import (
    Hang,
    Pause,
    Slow,
    Step,
    Stream,
    counted_usage,
    error_of,
    play,
    text_of,
)
from llmgate_plugins.types import Attempt, Chunk, Request, Response, Usage

__all__ = ["Hang", "ScriptedProvider", "Slow", "Step", "Stream"]


class ScriptedProvider:
    """A `Transport` for tests: each deployment follows its script. Thread-safe.

    A scripted answer whose text begins with an attempt's `prefill` goes on after it, as a
    model does; any other is taken for the continuation.

    Args:
        scripts: Deployment id -> its steps, one per attempt. See `Step`.
        default: What a deployment does when its script is over, or if it has none; None
            repeats the script's last step.
        usage: What a whole answer reports: a `Usage`, None for nothing, or a function of
            the request and the text.
        sleeper: Sleeps for `Slow`; the gateway's own in a test with a virtual clock.
        clock: Lets `Hang` end at the attempt's deadline in a thread.

    Attributes:
        sent: (deployment id, request) of every attempt, in order.
        opened, closed: Deployment ids of the streams that were begun, and that ended or
            were closed; the same ids when none is left open.
    """

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Step]] | None = None,
        *,
        default: Step | None = "ok",
        usage: Usage | Callable[[Request, str], Usage | None] | None = counted_usage,
        sleeper: Sleeper | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._scripts = {name: tuple(steps) for name, steps in (scripts or {}).items()}
        self._default = default
        self._usage = usage
        self._sleeper = sleeper or SystemSleeper()
        self._clock = clock
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.sent: list[tuple[str, Request]] = []
        self.opened: list[str] = []
        self.closed: list[str] = []
        for step in (*(step for steps in self._scripts.values() for step in steps), default):
            _check(step)

    # ------------------------------------------------------------ Transport

    def send(self, attempt: Attempt, request: Request) -> Response:
        """The whole answer."""
        meter = ChunkMeter()
        for chunk in self._pieces(attempt, request, self._take(attempt, request)):
            meter.feed(chunk)
        return _response(meter, attempt)

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""
        meter = ChunkMeter()
        async with aclosing(self._apieces(attempt, request, self._take(attempt, request))) as pieces:
            async for chunk in pieces:
                meter.feed(chunk)
        return _response(meter, attempt)

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """The answer's chunks."""
        return self._watched(attempt, self._pieces(attempt, request, self._take(attempt, request)))

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:
        """The same for an event loop."""
        return self._awatched(attempt, self._apieces(attempt, request, self._take(attempt, request)))

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002 - the interface
        """A meter for one stream."""
        return ChunkMeter()

    # ------------------------------------------------------------ for tests

    def attempts(self, deployment_id: str) -> int:
        """How often a deployment was tried."""
        return self._taken.get(deployment_id, 0)

    def release(self) -> None:
        """Let every thread go that is held by `Hang`, now and later."""
        self._released.set()

    # ------------------------------------------------------------ playing

    def _take(self, attempt: Attempt, request: Request) -> Step:
        deployment = attempt.deployment.id
        with self._lock:
            number = self._taken.get(deployment, 0)
            self._taken[deployment] = number + 1
            self.sent.append((deployment, request))
        script = self._scripts.get(deployment, ())
        if number < len(script):
            return script[number]
        if self._default is not None or not script:
            return "ok" if self._default is None else self._default
        return script[-1]

    def _played(self, attempt: Attempt, request: Request, step: Step) -> Iterator[Chunk | Pause | Hang]:
        usage = self._usage(request, text_of(step)) if callable(self._usage) else self._usage
        return play(step, request, attempt.deployment.model, usage, attempt.prefill)

    def _pieces(self, attempt: Attempt, request: Request, step: Step) -> Iterator[Chunk]:
        for effect in self._played(attempt, request, step):
            match effect:
                case Chunk():
                    yield effect
                case Pause(seconds):
                    self._sleeper.sleep(seconds)
                case Hang(cap):
                    self._hang(attempt, cap)

    async def _apieces(self, attempt: Attempt, request: Request, step: Step) -> AsyncGenerator[Chunk, None]:
        for effect in self._played(attempt, request, step):
            match effect:
                case Chunk():
                    yield effect
                case Pause(seconds):
                    await self._sleeper.asleep(seconds)
                case Hang(cap):
                    await asyncio.wait_for(asyncio.Event().wait(), cap)

    def _hang(self, attempt: Attempt, cap: float) -> None:
        if self._clock is not None and attempt.deadline is not None:
            self._sleeper.sleep(max(attempt.deadline - self._clock.monotonic(), 0.0))
        else:
            self._released.wait(cap)
        raise TimeoutError(f"{attempt.deployment.id} did not answer")

    def _watched(self, attempt: Attempt, pieces: Iterator[Chunk]) -> Iterator[Chunk]:
        self.opened.append(attempt.deployment.id)
        try:
            yield from pieces
        finally:
            self.closed.append(attempt.deployment.id)

    async def _awatched(self, attempt: Attempt, pieces: AsyncGenerator[Chunk, None]) -> AsyncIterator[Chunk]:
        self.opened.append(attempt.deployment.id)
        try:
            async with aclosing(pieces):
                async for chunk in pieces:
                    yield chunk
        finally:
            self.closed.append(attempt.deployment.id)


def _response(meter: ChunkMeter, attempt: Attempt) -> Response:
    message = meter.message()
    return Response(
        source=message,
        empty=not (message.text or message.tool_calls),
        usage=meter.usage,
        finish_reason=meter.finish_reason,
        model=meter.model or attempt.deployment.model,
        deployment_id=attempt.deployment.id,
        call_id=attempt.call_id,
    )


def _check(step: Step | None) -> None:
    """Refuse a fault that cannot be had in process now, not in the middle of a test."""
    if isinstance(step, Fault):
        error_of(step)
    elif isinstance(step, Slow):
        _check(step.step)
    elif isinstance(step, Stream) and isinstance(step.then, Fault):
        error_of(step.then)
