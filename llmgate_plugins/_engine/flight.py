"""What the engine needs to know to fly one call: its gateway's fixed parts, and the call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmgate_plugins._building import quickly_built
from llmgate_plugins._engine.echoes import said_by
from llmgate_plugins._engine.effects import Effect
from llmgate_plugins._engine.narrowing import Narrowing
from llmgate_plugins._registry import Hooks
from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Reselect
from llmgate_plugins.limits import Quota
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import Services
from llmgate_plugins.splicing import CHUNKS, Splicer
from llmgate_plugins.transport import Meter, Transport
from llmgate_plugins.types import (
    EMPTY,
    Attempt,
    Deployment,
    Failure,
    OnBreak,
    Price,
    Request,
    Response,
    Usage,
)

__all__ = ["Core", "Flight", "Routes", "Steps", "report"]

Steps = Generator[Effect, Any, Any]

log = logging.getLogger("llmgate")


class Routes(Protocol):
    """Which deployments an alias has, and what comes after it."""

    def deployments(self, alias: str) -> Sequence[Deployment]:
        """Deployments of this alias, or the one with this id. Raises `UnknownModel`."""

    def chain(self, alias: str, fallbacks: Sequence[str] | None) -> Sequence[str]:
        """This alias and then its fallbacks, nested ones included, each once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Core:
    """The parts of a gateway that are the same for every call.

    Attributes:
        classify: Turns an error into a `Failure`.
        price_of: The price for a deployment, with its tiers, and the model that served.
        estimate: Tokens of a request and so many delivered characters.
        fit: The request as this deployment's provider takes it, and what was changed for that.
        quota_of: What an error's headers say of the provider's rate limits.
        remember: Keeps a finished decision record.
        follow: Has a call followed by those that plugins asked for, with what carried it out.
        on_break: For calls that do not say what happens when a stream breaks.
    """

    hooks: Hooks
    services: Services
    routes: Routes
    narrowing: Narrowing
    classify: Callable[[BaseException], Failure]
    price_of: Callable[[Deployment, str | None], Price | None]
    estimate: Callable[[Request, int], Usage]
    fit: Callable[[Request, Deployment], tuple[Request, Sequence[str]]]
    quota_of: Callable[[BaseException], Quota | None]
    remember: Callable[[DecisionRecord], None]
    follow: Callable[[Call, Transport | None], None]
    on_break: OnBreak


@quickly_built
@dataclass(slots=True, eq=False)
class Flight:
    """One call on its way.

    Attributes:
        host_selects: The host brings candidates and picks where no plugin ranks.
        now: Monotonic seconds.
        transport: What carries it out; None where the host sends by itself, one attempt after another.
        delivered: What a stream that broke has given out, if another attempt may go on.
        broke: The error that broke it.
        plain: Ids of deployments that would not go on from a given beginning.
        free_at: Id of a deployment that was skipped -> Unix time from which it might serve.
        reselect: What a plugin wants chosen anew, until that is done.
        count: Attempts so far, those under way and those skipped included.
        empty: An answer without content, and its chunks: given out if nothing better comes.
    """

    core: Core
    call: Call
    host_selects: bool
    now: Callable[[], float]
    transport: Transport | None
    delivered: str | None = None
    broke: Exception | None = None
    plain: frozenset[str] = frozenset()
    free_at: Mapping[str, float] = EMPTY
    reselect: Reselect | None = None
    count: int = 0
    empty: tuple[Response, Sequence[Any]] | None = None
    primary: BaseException | None = None
    """The first attempt's error: what the caller gets to see when all fails."""

    @property
    def steps_out(self) -> bool:
        """Whether the host sends by itself."""
        return self.transport is None

    @property
    def on_break(self) -> OnBreak:
        """What the caller wants if a stream breaks."""
        return self.call.request.on_break or self.core.on_break

    @property
    def splicer(self) -> Splicer:
        """Reads and cuts the transport's chunks, for streams that go on after a break."""
        return getattr(self.transport, "splicer", CHUNKS)

    def meter(self, attempt: Attempt, request: Request) -> Meter:
        """A meter for a stream."""
        return ChunkMeter() if self.transport is None else self.transport.meter(attempt, request)

    def report(self, plugin: str, hook: str, error: BaseException) -> None:
        """Note a plugin's failure that does not stop the call, and say it once in the log."""
        report(self.call, plugin, hook, error)


def report(call: Call, plugin: str, hook: str, error: BaseException) -> None:
    """Note a plugin's failure that does not stop the call, and say it once in the log."""
    redact_error(error)
    call.record.problems.append((plugin, hook, said_by(error, call.request)))
    log.error("plugin %r failed in %s; the call goes on", plugin, hook, exc_info=error)
