"""Answers attempts from the books: the same as then, or what that deployment did for others at the time."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, NoReturn

from llmgate_plugins.context import Call
from llmgate_plugins.limits import Quota
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.replay.history import History, Played, recorded
from llmgate_plugins.replay.recorded import RecordedCall
from llmgate_plugins.routes import AliasTable
from llmgate_plugins.types import (
    Attempt,
    Chunk,
    Deployment,
    ErrorClass,
    Failure,
    Message,
    Outcome,
    Request,
    Response,
    Usage,
)

__all__ = ["HostReplayTransport", "ReplayTransport", "Replayed"]

_LEFT: Final = ("cancelled", "abandoned")
_TEXT: Final = "word"
_MESSAGE: Final = Message(role="assistant", content=_TEXT)
_NOTHING: Final = Message(role="assistant", content="")


class Replayed(Exception):
    """A failure as it was classified then, with what the provider said of its rate limits."""

    def __init__(self, failure: Failure, quota: Quota | None) -> None:
        super().__init__(failure.error_class.value)
        self.failure = failure
        self.quota = quota


class _Meter(ChunkMeter):
    """Knows what the attempt used, also where its stream is cut."""

    __slots__ = ("_attempt", "_transport")

    def __init__(self, transport: ReplayTransport, attempt: Attempt) -> None:
        super().__init__()
        self._transport = transport
        self._attempt = attempt

    @property
    def usage(self) -> Usage | None:
        played = self._transport.played.get(self._attempt.number)
        return None if played is None else played.outcome.usage

    @property
    def quota(self) -> Quota | None:  # nobody but the books says
        played = self._transport.played.get(self._attempt.number)
        return None if played is None else played.outcome.quota

    @quota.setter
    def quota(self, told: Quota | None) -> None:
        """Nothing: it is known already."""


class ReplayTransport:
    """Sends the attempts of one recorded call. Only for event loops on virtual time.

    Attributes:
        played: Attempt number -> how it went.
    """

    def __init__(self, call: RecordedCall, history: History) -> None:
        self._call = call
        self._history = history
        self.played: dict[int, Played] = {}
        self._left: dict[str, deque[tuple[Attempt, Outcome]]] = defaultdict(deque)
        for attempt, outcome in call.record.attempts:
            if outcome.status != "skipped":
                self._left[attempt.deployment.id].append((attempt, outcome))

    # ------------------------------------------------------------ Transport

    def send(self, attempt: Attempt, request: Request) -> NoReturn:  # noqa: ARG002 - the interface
        """A thread would stop the virtual time.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("a replay sends in an event loop only")

    def open(self, attempt: Attempt, request: Request) -> Iterator[Chunk]:
        """As `send`.

        Raises:
            RuntimeError: Always.
        """
        return self.send(attempt, request)

    async def asend(self, attempt: Attempt, request: Request) -> Response:  # noqa: ARG002 - the interface
        """The whole answer, after as long as it took."""
        played = self._play(attempt)
        outcome = played.outcome
        await _pass(outcome.latency)
        if outcome.status in _LEFT:
            await _never()
        empty = _is_empty(outcome)
        if outcome.failure is not None and not empty:
            raise Replayed(outcome.failure, outcome.quota)
        return Response(
            source=_NOTHING if empty else _MESSAGE,
            usage=outcome.usage,
            finish_reason="stop" if empty else outcome.finish_reason,
            model=played.model,
            deployment_id=attempt.deployment.id,
            quota=outcome.quota,
            empty=empty,
        )

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Chunk]:  # noqa: ARG002
        """The answer in two pieces: what came first, and its end."""
        return self._stream(attempt)

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:  # noqa: ARG002
        """A meter for one stream."""
        return _Meter(self, attempt)

    async def _stream(self, attempt: Attempt) -> AsyncIterator[Chunk]:
        played = self._play(attempt)
        outcome, model = played.outcome, played.model
        left = outcome.latency
        if outcome.first_token is not None:
            await _pass(outcome.first_token)
            yield Chunk(text=_TEXT, model=model)
            left -= outcome.first_token
        await _pass(left)
        if outcome.status in _LEFT:
            if outcome.status == "abandoned" and outcome.first_token is not None:
                yield Chunk(text=_TEXT, model=model)  # here its reader leaves, as it did then
            await _never()
        if outcome.failure is not None and not _is_empty(outcome):
            raise Replayed(outcome.failure, outcome.quota)
        yield Chunk(finish_reason=outcome.finish_reason or "stop", usage=outcome.usage, model=model)

    # ------------------------------------------------------------ how it goes

    def _play(self, attempt: Attempt) -> Played:
        played = self.played[attempt.number] = self._found(attempt)
        return played

    def _found(self, attempt: Attempt) -> Played:
        deployment, call, left = attempt.deployment, self._call, self._left[attempt.deployment.id]
        if not left:
            return self._history.drawn(deployment, call, attempt.number)
        one, outcome = left.popleft()
        if outcome.status in _LEFT and not call.was_left:
            # It lost to its hedge; what would have become of it nobody knows.
            return self._history.slower(deployment, call, attempt.number, outcome.latency)
        return recorded(one, outcome)


class HostReplayTransport(ReplayTransport):
    """The same for a call of a host whose own strategy picked: where no plugin ranks, it picks as then."""

    def __init__(self, call: RecordedCall, history: History, routes: AliasTable) -> None:
        super().__init__(call, history)
        self._routes = routes
        self._picked = [attempt.deployment.id for attempt, _ in call.record.attempts]

    async def acandidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:  # noqa: ARG002
        """The configured ones."""
        return self._routes.deployments(alias)

    def candidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:  # noqa: ARG002
        """The same."""
        return self._routes.deployments(alias)

    async def apick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """Whom the host picked, if it may serve now; else the first."""
        return self.pick(deployments, request, call)

    def pick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:  # noqa: ARG002
        """The same."""
        by_id = {one.id: one for one in deployments}
        while self._picked:
            found = by_id.get(self._picked.pop(0))
            if found is not None:
                return found
        return deployments[0]


def _is_empty(outcome: Outcome) -> bool:
    failure = outcome.failure
    return failure is not None and failure.error_class is ErrorClass.EMPTY_RESPONSE


async def _never() -> None:
    """Nothing comes any more; whoever waits leaves."""
    await asyncio.get_running_loop().create_future()


async def _pass(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)
