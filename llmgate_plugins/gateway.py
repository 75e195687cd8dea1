"""The public face: a gateway takes deployments and plugins in, and calls through."""

from __future__ import annotations

import atexit
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from llmgate_plugins._alerting.alerting import Alerting
from llmgate_plugins._driving.drivers import drive
from llmgate_plugins._engine.effects import Open, Send
from llmgate_plugins._engine.flight import Core, Steps
from llmgate_plugins._engine.narrowing import Narrowing
from llmgate_plugins._gateway.arguments import (
    check_deadline,
    check_fallbacks,
    check_on_break,
    given_deployments,
    refuse_urls,
)
from llmgate_plugins._gateway.calling import leave_streams
from llmgate_plugins._gateway.departure import Departures
from llmgate_plugins._gateway.minding import Minding
from llmgate_plugins._gateway.scoring import Scoring
from llmgate_plugins._registry import Registry
from llmgate_plugins.classification import classify, quota_of
from llmgate_plugins.context import Call
from llmgate_plugins.follow_ups import FollowUps
from llmgate_plugins.foreign import fit_request
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins import default_plugins, with_places
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.routes import AliasTable
from llmgate_plugins.services import (
    Clock,
    Ledger,
    Random,
    Services,
    Sleeper,
    State,
    SystemClock,
    SystemSleeper,
    default_random,
)
from llmgate_plugins.state import MemoryState
from llmgate_plugins.transport import Transport
from llmgate_plugins.types import EMPTY, Deployment, Failure, OnBreak
from llmgate_plugins.usage import estimate_usage

if TYPE_CHECKING:
    from llmgate_plugins.catalog import Catalog
    from llmgate_plugins.config import GatewayConfig

__all__ = ["Gateway", "Open", "Send"]

log = logging.getLogger("llmgate")


class Gateway(Minding):
    """One access layer in front of many deployments. Thread-safe; serves sync and async callers at once.

    Args:
        deployments: In configured order. Empty for a host that brings its own. Those without
            a price get the catalogue's, if it knows one.
        plugins: Run in list order, before the built-in ones.
        transport: How plain calls are sent; adapters bring their own per call.
        aliases: Another name -> an alias.
        fallbacks: Alias -> aliases to fall back to, in order.
        deadline: Seconds a call may take; None for no limit.
        on_break: What happens when a stream breaks after its first content, for calls that do
            not say: "raise", "restart", "resume" or "hold" (see `Request`).
        defaults: Append the built-in plugins (`llmgate_plugins.plugins.default_plugins`). One of
            their kind in `plugins`, set up differently, takes that one's place among them.
        catalog: Prices and capabilities by model; default: the installed sources.
        alerts: How alerts are told; give one to set it up differently.
        follow_ups: How further calls are made that plugins ask for; give one to set it up differently.
        clock, random, sleeper, state, ledger: What touches the world. Defaults: the
            machine's clock, an own generator, real sleep, memory, memory.

    Attributes:
        services: What touches the world; every hook may ask for it.
        routes: Aliases, their deployments and their fallbacks.
        registry: The plugins and their hooks.
        alerts: What was told lately, what goes on now, who is told.
        follow_ups: Calls that nobody waits for: how many are under way, how many were dropped.

    Raises:
        PluginRefused: A plugin does not fit the contract.
        ConfigurationError: Duplicate ids, alias loops, names that lead nowhere; an address for a
            state or ledger.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment] = (),
        *,
        plugins: Iterable[object] = (),
        transport: Transport | None = None,
        aliases: Mapping[str, str] = EMPTY,
        fallbacks: Mapping[str, Sequence[str]] = EMPTY,
        deadline: float | None = 600.0,
        on_break: OnBreak = "raise",
        defaults: bool = True,
        catalog: Catalog | None = None,
        alerts: Alerting | None = None,
        follow_ups: FollowUps | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        sleeper: Sleeper | None = None,
        state: State | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        refuse_urls(state=state, ledger=ledger)
        check_fallbacks(fallbacks)
        check_deadline(deadline)
        clock = clock or SystemClock()
        self.alerts: Final = alerts if alerts is not None else Alerting()
        self.follow_ups: Final = follow_ups if follow_ups is not None else FollowUps()
        own, built_in = with_places(plugins, default_plugins() if defaults else ())
        registry = Registry((*own, *built_in))
        scoring = Scoring(registry.hooks.score_deployments)
        services = Services(
            clock=clock,
            random=random or default_random(),
            sleeper=sleeper or SystemSleeper(),
            state=state if state is not None else MemoryState(clock=clock),
            ledger=ledger if ledger is not None else MemoryLedger(),
            alerts=self.alerts,
            plugins=registry.plugins,
            score=scoring,
        )
        scoring.connect(services)
        attend = getattr(services.ledger, "attend", None)  # books that need housekeeping
        if attend is not None:
            attend(clock)
        self._catalog = catalog
        self.routes: Final = AliasTable(
            map(self._priced, given_deployments(deployments)), aliases=aliases, fallbacks=fallbacks
        )
        self.alerts.connect(registry.hooks.deliver_alert, services)
        core = Core(
            hooks=registry.hooks,
            services=services,
            routes=self.routes,
            classify=_judge,
            price_of=self.catalog.price_of,
            estimate=estimate_usage,
            remember=self._remember,
            follow=self._follow,
            narrowing=Narrowing(),
            fit=fit_request,
            quota_of=quota_of,
            on_break=check_on_break(on_break),
        )
        super().__init__(Departures(core, transport, deadline), registry)
        # Registered after this gateway's ledger was opened, it runs before that is closed.
        atexit.unregister(leave_streams)
        atexit.register(leave_streams)

    @classmethod
    def from_config(
        cls,
        source: str | Path | Mapping[str, Any] | GatewayConfig,
        *,
        plugins: Iterable[object] = (),
        check_secrets: bool = True,
        **services: Any,
    ) -> Self:
        """A gateway from `llmgate.yaml`, a LiteLLM `config.yaml`, or a mapping of that shape.

        Args:
            source: Also what `llmgate_plugins.config.load_config` returned.
            plugins: Run before those the file names.
            check_secrets: Whether every reference to a secret must lead somewhere now, and
                not only when it is needed.
            services: As of the constructor; what is given here wins over the file.

        Raises:
            ConfigurationError: With every problem found, each with file and line.
        """
        from llmgate_plugins.assembly import assemble  # reads YAML; only wanted here

        return cls(**assemble(source, plugins=plugins, services=services, check_secrets=check_secrets))

    @property
    def transport(self) -> Transport | None:
        """How plain calls are sent."""
        return self._departures.transport

    @property
    def deadline(self) -> float | None:
        """Seconds a call may take."""
        return self._departures.deadline

    @property
    def on_break(self) -> OnBreak:
        """What happens when a stream breaks, for calls that do not say."""
        return self._departures.core.on_break

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """Every deployment by its id."""
        return self.routes.by_id

    @property
    def catalog(self) -> Catalog:
        """Prices and capabilities by model; opened when first needed."""
        if self._catalog is None:
            from llmgate_plugins.catalog import Catalog  # a third of the import time; calls seldom need it

            self._catalog = Catalog()
        return self._catalog

    def deployments_of(self, alias: str) -> tuple[Deployment, ...]:
        """The deployments of an alias. Raises `UnknownModel`."""
        return self.routes.deployments(alias)

    def close(self) -> None:
        """Flush the ledger, and let go of it and of the transport's connections. Idempotent.

        Calls that nobody waits for get two seconds to end, and alerts that are on their way five
        to arrive."""
        self.follow_ups.close()
        self.services.ledger.close()
        self.alerts.close()
        close = getattr(self.transport, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.plugins)
        return f"Gateway({len(self.deployments)} deployments; plugins: {names})"

    def _priced(self, deployment: Deployment) -> Deployment:
        if deployment.price is not None:
            return deployment
        price = self.catalog.price_of(deployment)
        return deployment if price is None else replace(deployment, price=price)

    def _follow(self, call: Call, transport: Transport | None) -> None:
        """Have a call that is over followed by those that its plugins asked for."""
        wanted_ones, call.follow_ups = call.follow_ups, ()
        for wanted in wanted_ones:
            try:
                started = self._departures.start_following(wanted, call, transport)
                if started is None:
                    self.follow_ups.miss(wanted, "no_transport")
                else:
                    self.follow_ups.add(wanted, partial(_run, *started, self.services))
            except Exception as error:  # the call itself is over, and went well
                redact_error(error)
                log.exception("nothing follows call %s", call.id)


def _judge(error: BaseException) -> Failure:
    """Classify an error as soon as it is caught, and take credentials out of it for good."""
    failure = classify(error)
    redact_error(error)
    return failure


def _run(steps: Steps, transport: Transport, call: Call, services: Services) -> None:
    """A call that nobody waits for."""
    deque(drive(steps, transport, call, services), maxlen=0)
