"""What the engine needs to know to fly one call: its gateway's fixed parts, and the call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmgate_plugins._engine.effects import Effect
from llmgate_plugins._registry import Hooks
from llmgate_plugins.context import Call
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import Services
from llmgate_plugins.transport import Meter
from llmgate_plugins.types import Attempt, Deployment, Failure, Price, Request, Usage

__all__ = ["Core", "Flight", "Routes", "Steps"]

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
        price_of: The price for a deployment, the model that served, and so many input tokens.
        estimate: Tokens of a request and so many delivered characters.
        remember: Keeps a finished decision record.
    """

    hooks: Hooks
    services: Services
    routes: Routes
    classify: Callable[[BaseException], Failure]
    price_of: Callable[[Deployment, str | None, int], Price | None]
    estimate: Callable[[Request, int], Usage]
    remember: Callable[[DecisionRecord], None]


@dataclass(slots=True, eq=False)
class Flight:
    """One call on its way.

    Attributes:
        host_selects: The host brings candidates and picks where no plugin ranks.
        meter: Makes a meter for a stream.
    """

    core: Core
    call: Call
    host_selects: bool
    meter: Callable[[Attempt, Request], Meter]
    primary: BaseException | None = None
    """The first attempt's error: what the caller gets to see when all fails."""

    def now(self) -> float:
        """Monotonic seconds."""
        return self.core.services.clock.monotonic()

    def report(self, plugin: str, hook: str, error: BaseException) -> None:
        """Note a plugin's failure that does not stop the call, and say it once in the log."""
        redact_error(error)
        self.call.record.problems.append((plugin, hook, f"{type(error).__name__}: {error}"))
        log.error("plugin %r failed in %s; the call goes on", plugin, hook, exc_info=error)
