"""The public face: a gateway takes deployments and plugins in, and calls through."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, get_args
from weakref import WeakSet

from llmgate_plugins._alerting import Alerting
from llmgate_plugins._departure import Departures, Messages
from llmgate_plugins._drivers import adrive, drive
from llmgate_plugins._engine.effects import Open, Send
from llmgate_plugins._engine.flight import Core, Steps
from llmgate_plugins._engine.foreseeing import foresee
from llmgate_plugins._engine.hearing import hear
from llmgate_plugins._engine.narrowing import Narrowing
from llmgate_plugins._engine.pipeline import admit, dismiss
from llmgate_plugins._explaining import explained, recalled, supposed_id
from llmgate_plugins._feedback import about, feedback_of
from llmgate_plugins._registry import Registry
from llmgate_plugins._scoring import Scoring
from llmgate_plugins.classification import classify, quota_of
from llmgate_plugins.context import Call, Context
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.follow_ups import FollowUps
from llmgate_plugins.foreign import fit_request
from llmgate_plugins.foresight import Explanation, Foreseen
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.messages import to_messages
from llmgate_plugins.plugins import Limits, LimitStanding, default_plugins, with_places
from llmgate_plugins.records import CallStatus, DecisionRecord
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.routes import AliasTable
from llmgate_plugins.services import (
    Clock,
    Feedback,
    Ledger,
    Random,
    Services,
    ShadowCalls,
    Sleeper,
    State,
    SystemClock,
    SystemSleeper,
    default_random,
)
from llmgate_plugins.state import MemoryState
from llmgate_plugins.transport import Transport
from llmgate_plugins.types import EMPTY, Deployment, Failure, OnBreak, Request, Response
from llmgate_plugins.usage import estimate_usage

if TYPE_CHECKING:
    from llmgate_plugins.catalog import Catalog
    from llmgate_plugins.config import GatewayConfig
    from llmgate_plugins.insight import ExperimentResult, Forecast, Level, LiveBy, LiveRow, Report
    from llmgate_plugins.insight.conditions import Where
    from llmgate_plugins.insight.spans import Moment

__all__ = ["Gateway", "Open", "Send"]

log = logging.getLogger("llmgate")

KEPT_DECISIONS: Final = 1_000


class Gateway:
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
        ConfigurationError: Duplicate ids, alias loops, names that lead nowhere.
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
        clock = clock or SystemClock()
        self.alerts: Final = alerts if alerts is not None else Alerting()
        self.follow_ups: Final = follow_ups if follow_ups is not None else FollowUps()
        own, built_in = with_places(plugins, default_plugins() if defaults else ())
        self.registry: Final = Registry((*own, *built_in))
        scoring = Scoring(self.registry.hooks.score_deployments)
        self.services: Final = Services(
            clock=clock,
            random=random or default_random(),
            sleeper=sleeper or SystemSleeper(),
            state=state if state is not None else MemoryState(clock=clock),
            ledger=ledger if ledger is not None else MemoryLedger(),
            alerts=self.alerts,
            plugins=self.registry.plugins,
            score=scoring,
        )
        scoring.connect(self.services)
        attend = getattr(self.services.ledger, "attend", None)  # books that need housekeeping
        if attend is not None:
            attend(clock)
        self._catalog = catalog
        self.routes: Final = AliasTable(map(self._priced, deployments), aliases=aliases, fallbacks=fallbacks)
        self.alerts.connect(self.registry.hooks.deliver_alert, self.services)
        self._decisions: deque[DecisionRecord] = deque(maxlen=KEPT_DECISIONS)
        core = Core(
            hooks=self.registry.hooks,
            services=self.services,
            routes=self.routes,
            classify=_judge,
            price_of=self.catalog.price_of,
            estimate=estimate_usage,
            remember=self._remember,
            follow=self._follow,
            narrowing=Narrowing(),
            fit=fit_request,
            quota_of=quota_of,
            on_break=_checked(on_break),
        )
        self._departures: Final = Departures(core, transport, deadline)
        # Registered after this gateway's ledger was opened, it runs before that is closed.
        atexit.unregister(_leave_streams)
        atexit.register(_leave_streams)

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
        answer: Response | None = None
        async for answer in adrive(*started, self.services):  # noqa: B007 - as above
            pass
        return _given(answer)

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
        if self._has_admission(request):
            for _ in drive(admit(self._departures.flight(call, None)), None, call, self.services):
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
        if self._has_admission(request):
            async for _ in adrive(admit(self._departures.flight(call, None)), None, call, self.services):
                pass
        return call

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

    # ------------------------------------------------------------ afterwards

    def feedback(
        self,
        call_id: str,
        score: float,
        name: str = "quality",
        comment: str | None = None,
        *,
        source: str | None = None,
        id: str | None = None,
    ) -> Feedback:
        """Say how good an answer was: for `experiments`, for preferences that learn from it.

        Args:
            call_id: Of the call: `response_metadata["llmgate"]["decision_id"]` in LangChain,
                `_hidden_params["llmgate"]["call_id"]` in LiteLLM. It may have been made by another
                process that writes the same ledger, and need not be in the books yet.
            score: From 0, useless, to 1, perfect; a thumb up is True.
            name: What was judged. Of several scores of one name for one call the last one counts.
            comment: In words. They go into the ledger, and nowhere else.
            source: Who says so ("user", "judge").
            id: Names this feedback, so that it can be given again and is kept once.

        Raises:
            ValueError: The score is not between 0 and 1.
            UnknownCall: The ledger is this process' own, and knows no such call.
            StorageError: It could not be written.
        """
        given = feedback_of(
            call_id, score, name=name, comment=comment, source=source, id=id, services=self.services
        )
        record = self.decision(call_id)
        told = about(given, record, self.services.ledger)
        steps, call = self._heard(told, record)
        for _ in drive(steps, None, call, self.services):
            pass
        return told

    async def afeedback(
        self,
        call_id: str,
        score: float,
        name: str = "quality",
        comment: str | None = None,
        *,
        source: str | None = None,
        id: str | None = None,
    ) -> Feedback:
        """`feedback` for an event loop."""
        given = feedback_of(
            call_id, score, name=name, comment=comment, source=source, id=id, services=self.services
        )
        record = self.decision(call_id)
        if record is not None:
            told = about(given, record, self.services.ledger)
        else:  # the books are read, which blocks
            told = await asyncio.to_thread(about, given, None, self.services.ledger)
        steps, call = self._heard(told, record)
        async for _ in adrive(steps, None, call, self.services):
            pass
        return told

    # ------------------------------------------------------------ looking in

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

    @property
    def plugins(self) -> tuple[tuple[str, object], ...]:
        """(name, plugin) in run order, the built-in ones included."""
        return self.registry.plugins

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """The last 1,000 decision records, oldest first."""
        return tuple(self._decisions)

    @property
    def limits(self) -> tuple[LimitStanding, ...]:
        """How each limit stands now, for everybody whom this process has had to do with."""
        return tuple(row for _, one in self.plugins if isinstance(one, Limits) for row in one.report())

    def deployments_of(self, alias: str) -> tuple[Deployment, ...]:
        """The deployments of an alias. Raises `UnknownModel`."""
        return self.routes.deployments(alias)

    def decision(self, call_id: str) -> DecisionRecord | None:
        """The decision record of one of the last 1,000 calls."""
        return next((record for record in reversed(self.decisions) if record.call_id == call_id), None)

    def explain(
        self,
        what: str | Request,
        messages: Messages | None = None,
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> Explanation:
        """What became of a call, or what would become of a request now.

        A request is admitted, narrowed and ranked as any other, by the real state; nothing is sent,
        reserved, learned or written. Of limits and rates it is told what they would say.

        Args:
            what: The id of a past call, or its beginning, if there are no messages; else an alias,
                or a whole `Request`.
            messages, context, tags, params: As of `complete`.
            call_id: Draw lots as the call with this id does; None for an id of its own.

        Raises:
            UnknownCall: There is no such call, or there are several.
        """
        if messages is None and isinstance(what, str):
            return Explanation(record=self.recall(what))
        foreseen, call = self._supposed(what, messages or (), context, tags, call_id, params)
        flight = self._departures.flight(call, None)
        for _ in drive(foresee(flight, foreseen), None, call, self.services):
            pass
        return explained(call.record, foreseen, self.services, self._decisions)

    async def aexplain(
        self,
        what: str | Request,
        messages: Messages | None = None,
        *,
        context: Context | None = None,
        tags: Mapping[str, str] | None = None,
        call_id: str | None = None,
        **params: Any,
    ) -> Explanation:
        """`explain` for an event loop."""
        if messages is None and isinstance(what, str):
            return Explanation(record=await asyncio.to_thread(self.recall, what))
        foreseen, call = self._supposed(what, messages or (), context, tags, call_id, params)
        flight = self._departures.flight(call, None)
        async for _ in adrive(foresee(flight, foreseen), None, call, self.services):
            pass
        return explained(call.record, foreseen, self.services, self._decisions)

    def recall(self, call_id: str) -> DecisionRecord:
        """The decision record of any call that this process or the ledger remembers.

        Args:
            call_id: The whole id, or its beginning.

        Raises:
            UnknownCall: There is none, or there are several.
        """
        return recalled(call_id, self.decisions, self.services.ledger)

    def report(
        self,
        by: str | Sequence[str] = ("model",),
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        zone: str = "UTC",
        where: Where = (),
        of: Level | None = None,
        shadow_calls: ShadowCalls = "without",
    ) -> Report:
        """What the ledger says was asked, how it went and what it cost; see `insight.read_report`."""
        from llmgate_plugins.insight import read_report

        now = self.services.clock.time()
        return read_report(
            self.services.ledger,
            by=by,
            since=since,
            until=until,
            zone=zone,
            where=where,
            of=of,
            shadow_calls=shadow_calls,
            now=now,
        )

    def forecast(
        self,
        by: str | Sequence[str] = (),
        *,
        zone: str = "UTC",
        where: Where = (),
        shadow_calls: ShadowCalls = "without",
    ) -> Forecast:
        """What this month will have cost, and when budgets run out; see `insight.read_forecast`."""
        from llmgate_plugins.insight import read_forecast
        from llmgate_plugins.insight.outlook import budgets_of

        budgets = budgets_of(plugin for _, plugin in self.plugins)
        now = self.services.clock.time()
        return read_forecast(
            self.services.ledger,
            by=by,
            zone=zone,
            where=where,
            budgets=budgets,
            shadow_calls=shadow_calls,
            now=now,
        )

    def experiments(
        self,
        name: str | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        zone: str = "UTC",
        confidence: float = 0.95,
        once: bool = False,
        detect: float = 0.05,
        score: str = "quality",
    ) -> tuple[ExperimentResult, ...]:
        """How the arms of experiments fare by the ledger; see `insight.read_experiments`."""
        from llmgate_plugins.insight import read_experiments
        from llmgate_plugins.insight.canaries import controls_of, with_canaries

        plugins = [plugin for _, plugin in self.plugins]
        results = read_experiments(
            self.services.ledger,
            name,
            since=since,
            until=until,
            zone=zone,
            confidence=confidence,
            once=once,
            detect=detect,
            score=score,
            controls=controls_of(plugins),
            now=self.services.clock.time(),
        )
        return with_canaries(results, plugins)

    def live(self, seconds: float = 300.0, *, by: LiveBy = "deployment") -> tuple[LiveRow, ...]:
        """How the last seconds of this process were, if it has the plugin `LiveStatistics`.

        Args:
            seconds: Up to six hours.
            by: "deployment", "model", "provider", "region", "alias" or "route".

        Raises:
            ConfigurationError: It has not.
        """
        from llmgate_plugins.insight.live import live_of

        return live_of(self.plugins).window(seconds, by)

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

    def _supposed(
        self,
        what: str | Request,
        messages: Messages,
        context: Context | None,
        tags: Mapping[str, str] | None,
        call_id: str | None,
        params: Mapping[str, Any],
    ) -> tuple[list[Foreseen], Call]:
        """A call that will not be made."""
        if isinstance(what, str):
            what = Request(model=what, messages=to_messages(messages), params=params, tags=tags or EMPTY)
        call = self._departures.call(what, context, None, call_id or supposed_id())
        call.named = False  # nobody repeats it
        call.hypothetical = True
        return [], call

    def _has_admission(self, request: Request) -> bool:
        """Whether admission would do anything at all."""
        return bool(self.registry.hooks.admit_request) or request.timeout is not None

    def _heard(self, feedback: Feedback, record: DecisionRecord | None) -> tuple[Steps, Call]:
        """Steps that make feedback known, and a call for the drivers to carry them out for."""
        call = self._departures.call(Request(model=""), None, None, feedback.call_id)
        return hear(self._departures.flight(call, None), feedback, record), call

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

    def _remember(self, record: DecisionRecord) -> None:
        """Keep a finished record, without the errors: they hold on to frames, and so to prompts."""
        if any(outcome.error is not None for _, outcome in record.attempts):
            record.attempts[:] = [
                (attempt, replace(outcome, error=None)) for attempt, outcome in record.attempts
            ]
        self._decisions.append(record)


def _judge(error: BaseException) -> Failure:
    """Classify an error as soon as it is caught, and take credentials out of it for good."""
    failure = classify(error)
    redact_error(error)
    return failure


def _run(steps: Steps, transport: Transport, call: Call, services: Services) -> None:
    """A call that nobody waits for."""
    deque(drive(steps, transport, call, services), maxlen=0)


_open_streams: Final[WeakSet[Generator[Any, Any, None]]] = WeakSet()


def _leave_streams() -> None:
    """The program ends: what readers have left open is settled while there are books to settle it in."""
    for stream in list(_open_streams):
        with suppress(Exception):  # one that is being read in another thread cannot be closed
            stream.close()


def _checked(on_break: OnBreak) -> OnBreak:
    if on_break not in get_args(OnBreak):
        raise ConfigurationError(f"on_break must be one of {', '.join(get_args(OnBreak))}, not {on_break!r}")
    return on_break


def _given(answer: Response | None) -> Response:
    if answer is None:
        raise RuntimeError("the engine ended without an answer")
    return answer
