"""How calls are made through a gateway: the four faces, and the steps of hosts that send by themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final
from weakref import WeakSet

from llmgate_plugins._driving.drivers import aanswer_of, adrive, drive
from llmgate_plugins._engine.flight import Steps
from llmgate_plugins._engine.origins import ruled_out
from llmgate_plugins._engine.pipeline import admit, dismiss
from llmgate_plugins._gateway.departure import Departures, Messages
from llmgate_plugins._registry import Registry
from llmgate_plugins.context import Call, Context
from llmgate_plugins.records import CallStatus
from llmgate_plugins.services import Services
from llmgate_plugins.transport import Transport
from llmgate_plugins.types import Request, Response

__all__ = ["Calling", "leave_streams"]


class Calling:
    """What makes calls: the part of a gateway that applications and hosts call through.

    Args:
        departures: Starts its calls.
        registry: Its plugins.
    """

    def __init__(self, departures: Departures, registry: Registry) -> None:
        self._departures: Final = departures
        self.registry: Final = registry
        self.services: Final[Services] = departures.core.services

    # ------------------------------------------------------------ the four faces

    def complete(
        self,
        model: str | Request | Call,
        messages: Messages = (),
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> Response:
        """Ask and wait for the whole answer.

        Args:
            model: An alias, a whole `Request`, or a `Call` that `admit` returned.
            messages: A prompt, or messages as OpenAI writes them.
            context: Who is calling; default: what `use_context` set.
            tags: The caller's labels, untrusted.
            transport: Instead of the gateway's own.
            deadline: Seconds, instead of the gateway's own.
            call_id: Instead of a new UUIDv7.
            params: Everything else in the OpenAI vocabulary (`temperature`, `tools`, ...).

        Raises:
            RequestDenied: A policy said no.
            HookFailed: A policy or selection plugin failed.
            UnknownModel: No such alias.
            AllDeploymentsUnavailable: Nothing could be tried.
            DeadlineExceeded: The time was over.
            Exception: The first attempt's own error, with a note per attempt.
        """
        started = self._departures.start(
            model, messages, params, False, context, tags, transport, deadline, call_id
        )
        answer: Response | None = None
        for answer in drive(*started, self.services):  # noqa: B007 - the only one is the last
            pass
        return _given(answer)

    async def acomplete(
        self,
        model: str | Request | Call,
        messages: Messages = (),
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> Response:
        """`complete` for an event loop."""
        started = self._departures.start(
            model, messages, params, False, context, tags, transport, deadline, call_id
        )
        return _given(await aanswer_of(*started, self.services))

    def stream(
        self,
        model: str | Request | Call,
        messages: Messages = (),
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> Generator[Any, Any, None]:
        """Ask and read the answer as it comes: the transport's own chunks (plain: `Chunk`).

        Until the first chunk with content a failing deployment is replaced by another;
        after it, the stream ends with `StreamInterrupted`. Arguments and other errors
        as of `complete`, raised when the first chunk is asked for.
        """
        started = self._departures.start(
            model, messages, params, True, context, tags, transport, deadline, call_id
        )
        chunks = drive(*started, self.services)
        _open_streams.add(chunks)
        return chunks

    def astream(
        self,
        model: str | Request | Call,
        messages: Messages = (),
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        transport: Transport | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> AsyncGenerator[Any, Any]:
        """`stream` for an event loop. Close it (`contextlib.aclosing`) when leaving early."""
        started = self._departures.start(
            model, messages, params, True, context, tags, transport, deadline, call_id
        )
        return adrive(*started, self.services)

    # ------------------------------------------------------------ for hosts

    def steps(
        self, request: Request | Call, *, context: Context | None = None, call_id: str | None = None
    ) -> Generator[Any, Any, None]:
        """A call stepped by a host that sends by itself.

        Yields `Send` (or `Open` for a stream) with `.attempt` and `.request`; the host sends,
        within `attempt.entered()`, and hands back the `Response` (the chunk iterator) with
        `.send(...)`, or the error with `.throw(...)`. The last item yielded is the final
        `Response`; a stream's chunks come one by one. Close the generator to abandon the call.
        """
        return drive(*self._departures.start_stepped(request, context, call_id), self.services)

    def asteps(
        self, request: Request | Call, *, context: Context | None = None, call_id: str | None = None
    ) -> AsyncGenerator[Any, Any]:
        """`steps` for an event loop, with `.asend(...)` and `.athrow(...)`."""
        return adrive(*self._departures.start_stepped(request, context, call_id), self.services)

    def admit(
        self,
        request: Request,
        *,
        context: Context | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
    ) -> Call:
        """Admission alone, for a host that must run policy before its own tracing or cache.

        Hand the call on to one of the faces, or to `dismiss`.

        Raises:
            RequestDenied: A policy said no.
            HookFailed: A policy plugin failed.
        """
        call = self._departures.call(request, context, deadline, call_id)
        steps = admit(self._departures.flight(call, None))
        if steps is not None:
            for _ in drive(steps, None, call, self.services):
                pass
        return call

    async def aadmit(
        self,
        request: Request,
        *,
        context: Context | None = None,
        deadline: float | None = None,
        call_id: str | None = None,
    ) -> Call:
        """`admit` for an event loop."""
        call = self._departures.call(request, context, deadline, call_id)
        steps = admit(self._departures.flight(call, None))
        if steps is not None:
            async for _ in adrive(steps, None, call, self.services):
                pass
        return call

    def ruled_out(self, call: Call) -> frozenset[str]:
        """Ids of the deployments, fallbacks' included, that may not serve an admitted call, well or not.

        For a host that keeps answers: none that was made there is for this call.

        Raises:
            RequestDenied: A plugin denied it.
            HookFailed: A plugin failed.
        """
        found: list[frozenset[str]] = []
        steps = _told(ruled_out(self._departures.flight(call, None)), found)
        for _ in drive(steps, None, call, self.services):
            pass
        return found[0]

    async def aruled_out(self, call: Call) -> frozenset[str]:
        """`ruled_out` for an event loop."""
        found: list[frozenset[str]] = []
        steps = _told(ruled_out(self._departures.flight(call, None)), found)
        async for _ in adrive(steps, None, call, self.services):
            pass
        return found[0]

    def dismiss(self, call: Call, status: CallStatus = "answered") -> None:
        """End an admitted call that will not be carried out. Does nothing if it has ended."""
        if call.record.status == "open":
            for _ in drive(dismiss(self._departures.flight(call, None), status), None, call, self.services):
                pass

    async def adismiss(self, call: Call, status: CallStatus = "answered") -> None:
        """`dismiss` for an event loop."""
        if call.record.status == "open":
            async with aclosing(
                adrive(dismiss(self._departures.flight(call, None), status), None, call, self.services)
            ) as rest:
                async for _ in rest:
                    pass


_open_streams: Final[WeakSet[Generator[Any, Any, None]]] = WeakSet()


def leave_streams() -> None:
    """The program ends: what readers have left open is settled while there are books to settle it in."""
    for stream in list(_open_streams):
        with suppress(Exception):  # one that is being read in another thread cannot be closed
            stream.close()


def _told(steps: Steps, found: list[Any]) -> Steps:
    """The same steps; `found` gets what they return."""
    found.append((yield from steps))


def _given(answer: Response | None) -> Response:
    if answer is None:
        raise RuntimeError("the engine ended without an answer")
    return answer
