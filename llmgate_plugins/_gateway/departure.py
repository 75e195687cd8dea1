"""How a call starts: from what an application hands in to steps that a driver can carry out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.context import get_current
from opentelemetry.trace import format_trace_id, get_current_span

from llmgate_plugins._building import builder
from llmgate_plugins._engine.flight import Core, Flight, Steps
from llmgate_plugins._engine.pipeline import carry_out
from llmgate_plugins._gateway.arguments import told_wrong
from llmgate_plugins.context import Call, Context, current_context, refuse_context
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.follow_ups import FollowUp
from llmgate_plugins.messages import to_messages
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Random
from llmgate_plugins.transport import Separable, Transport
from llmgate_plugins.types import EMPTY, Message, Request

__all__ = ["Departures", "Messages", "uuid7"]

Messages = str | Sequence[Message | Mapping[str, Any]]

_request: Final = builder(Request)
_record: Final = builder(DecisionRecord)
_flight: Final = builder(Flight)


@dataclass(frozen=True, slots=True)
class Departures:
    """Starts the calls of one gateway.

    Attributes:
        transport: The gateway's own; a call may bring another.
        deadline: Seconds per call; a call may name others.
    """

    core: Core
    transport: Transport | None
    deadline: float | None

    def start(
        self,
        model: str | Request | Call,
        messages: Messages,
        params: Mapping[str, Any],
        stream: bool,
        context: Context | None,
        tags: Mapping[str, str] | None,
        transport: Transport | None,
        deadline: float | None,
        call_id: str | None,
    ) -> tuple[Steps, Transport, Call]:
        """A call through one of the faces: its steps, and what to carry them out with."""
        transport = transport or self.transport
        if transport is None:
            raise ConfigurationError(
                "this gateway has no transport; give it one, or use it through an adapter"
            )
        if tags or params or deadline is not None:
            wrong = told_wrong(tags, params, deadline)
            if wrong is not None:
                raise wrong
        if isinstance(model, Call):
            call = model
            if call.request.stream is not stream:
                call.request = call.request.replace(stream=stream)
                call.record.stream = stream
            return carry_out(self.flight(call, transport), admitted=True), transport, call
        if isinstance(model, Request):
            request = model if model.stream is stream else model.replace(stream=stream)
        else:
            request = _request(
                model=model, messages=to_messages(messages), params=params, tags=tags or EMPTY, stream=stream
            )
        call = self.call(request, context, deadline, call_id)
        return carry_out(self.flight(call, transport)), transport, call

    def start_stepped(
        self, request: Request | Call, context: Context | None, call_id: str | None
    ) -> tuple[Steps, None, Call]:
        """A call whose host sends by itself."""
        if isinstance(request, Call):
            return carry_out(self.flight(request, None), admitted=True), None, request
        call = self.call(request, context, None, call_id)
        return carry_out(self.flight(call, None)), None, call

    def call(
        self, request: Request, context: Context | None, deadline: float | None, call_id: str | None
    ) -> Call:
        """A call that is about to begin."""
        services = self.core.services
        at, started = services.clock.time(), services.clock.monotonic()
        seconds = deadline if deadline is not None else self.deadline
        if context is None:
            context = current_context()
        elif not isinstance(context, Context):
            raise refuse_context(context)
        named = call_id is not None
        if call_id is None:
            call_id = uuid7(at, services.random)
        record = _record(
            call_id=call_id,
            model=request.model,
            at=at,
            context=context,
            tags=request.tags,
            operation=request.operation,
            stream=request.stream,
            trace_id=_trace_id() if get_current() else None,  # mostly there is nothing around a call
        )
        until = None if seconds is None else started + seconds
        call = Call(call_id, request, context, started, until, record)
        call.named = named
        if deadline is not None and (request.timeout is None or deadline < request.timeout):
            call.asked = request.replace(timeout=deadline)
        return call

    def flight(self, call: Call, transport: Transport | None) -> Flight:
        """What the engine needs to know of this call."""
        return _flight(
            self.core,
            call,
            hasattr(transport, "pick"),  # a `HostSelection`; isinstance of a Protocol is slow
            self.core.services.clock.monotonic,
            transport,
        )

    def start_following(
        self, wanted: FollowUp, of: Call, transport: Transport | None
    ) -> tuple[Steps, Transport, Call] | None:
        """A call that follows another: its steps, and what to carry them out with; None without a transport.

        Made while the other's caller has not gone on yet: what that one may change is copied.
        """
        transport, request = transport or self.transport, wanted.request or of.request
        if transport is None:
            return None
        request = request.replace(
            model=wanted.model or request.model, fallbacks=(), timeout=None, on_break="raise"
        )
        if isinstance(transport, Separable):
            apart = transport.apart(request, same=wanted.request is None)
            if apart is None:
                return None
            transport, request = apart
        else:
            request = request.replace(messages=tuple(request.messages), params=dict(request.params))
        call = self.call(request, wanted.context or of.context, wanted.deadline, None)
        call.record.shadow_of = of.id
        if wanted.prepare is not None:
            wanted.prepare(call)
        return carry_out(self.flight(call, transport)), transport, call


def _trace_id() -> str | None:
    """Of the trace that the application is in, if it is in one."""
    surrounding = get_current_span().get_span_context()
    return format_trace_id(surrounding.trace_id) if surrounding.is_valid else None


def uuid7(at: float, random: Random) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then randomness. Sorts by time."""
    time, chance = f"{int(at * 1000):012x}", hex(random.getrandbits(80) & _RANDOM | _VERSION_7)
    return f"{time[:8]}-{time[8:]}-{chance[2:6]}-{chance[6:10]}-{chance[10:]}"


_RANDOM: Final = ~(0xF << 76 | 0x3 << 62)
_VERSION_7: Final = 0x7 << 76 | 0x2 << 62
