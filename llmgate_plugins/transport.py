"""How a host sends: what the engine's effects are carried out with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from llmgate_plugins.context import Call
from llmgate_plugins.types import Attempt, Deployment, Message, Request, Response, Usage

__all__ = ["HostSelection", "Meter", "Separable", "Transport"]


class Meter(Protocol):
    """Reads a stream's chunks as they pass. One per attempt, made by the transport.

    The engine hands the transport's own chunks on to the reader untouched; what it
    needs to know of them it asks the meter. One that also knows how many `characters` were
    delivered, of text, reasoning and tool calls together, has that as well: where a provider
    does not report usage that is what is booked, else it is the text's.
    """

    def feed(self, chunk: Any) -> bool:
        """Take note of a chunk. Whether it has content, a tool call or reasoning: the
        first such chunk commits the stream."""

    @property
    def usage(self) -> Usage | None:
        """As the provider reported it, or None if it has not (yet)."""

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, or None if no chunk has said so."""

    @property
    def complete(self) -> bool:
        """Whether a stream that ends here is whole. False where the provider always
        sends an end mark (a finish reason) and none has come: then it was cut."""

    @property
    def model(self) -> str | None:
        """The model that served, by the provider's word."""

    @property
    def text(self) -> str:
        """The text delivered so far."""

    def message(self) -> Message:
        """All that was delivered, as one message."""


class Transport(Protocol):
    """Sends one attempt to one deployment. Retries nothing, hides nothing.

    Errors are raised as the provider's client raises them. `attempt.deadline` is the
    end of the call's time.
    """

    def send(self, attempt: Attempt, request: Request) -> Response:
        """Send and return the whole answer."""

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """The same for an event loop."""

    def open(self, attempt: Attempt, request: Request) -> Iterator[Any]:
        """Send and return the chunks. Opening may be deferred to the first `next`."""

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[Any]:
        """The same for an event loop."""

    def meter(self, attempt: Attempt, request: Request) -> Meter:
        """A meter for one stream."""


@runtime_checkable
class HostSelection(Protocol):
    """A transport that also brings its own candidates and its own way to pick.

    LiteLLM's router is one: it knows its deployments and their health, and its
    configured strategy decides where no plugin has an opinion.
    """

    def candidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        """The deployments of this alias that the host would consider."""

    async def acandidates(self, alias: str, request: Request, call: Call) -> Sequence[Deployment]:
        """The same for an event loop."""

    def pick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """One of these, by the host's own strategy."""

    async def apick(self, deployments: Sequence[Deployment], request: Request, call: Call) -> Deployment:
        """The same for an event loop."""

    def declared(self, name: str) -> Sequence[Deployment]:
        """The deployments of an alias, or the one with this id, whether they are well or not.

        Raises:
            UnknownModel: There is none.
        """


@runtime_checkable
class Separable(Protocol):
    """A transport that sends on behalf of a host's own call, and can send apart from it as well.

    A call that follows another (`Call.follow_up`) is sent when the host's call is over. A
    transport that is not bound to one call of a host need not be separable.
    """

    def apart(self, request: Request, *, same: bool) -> tuple[Transport, Request] | None:
        """What sends this request later, from any thread, and the request for it; None if nothing can.

        Nothing of the host's call is told, held or waited for; what its caller may change is
        copied. It runs before the caller has the answer, so it should be quick.

        Args:
            request: What to send.
            same: Whether it asks what the host's call asked; else it says all by itself.
        """
