"""What a gateway tells of its calls: why they went where they went, how they fared, what they cost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins._driving.drivers import adrive, drive
from llmgate_plugins._engine.foreseeing import foresee
from llmgate_plugins._gateway.calling import Calling
from llmgate_plugins._gateway.departure import Departures, Messages
from llmgate_plugins._gateway.explaining import explained, recalled, supposed_id
from llmgate_plugins._registry import Registry
from llmgate_plugins.context import Call, Context
from llmgate_plugins.foresight import Explanation, Foreseen
from llmgate_plugins.messages import to_messages
from llmgate_plugins.plugins import Limits, LimitStanding
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import ShadowCalls
from llmgate_plugins.types import EMPTY, Request

if TYPE_CHECKING:
    from llmgate_plugins.insight import ExperimentResult, Forecast, Level, LiveBy, LiveRow, Report
    from llmgate_plugins.insight.conditions import Where
    from llmgate_plugins.insight.spans import Moment

__all__ = ["Looking"]

KEPT_DECISIONS: Final = 1_000


class Looking(Calling):
    """What can be asked of calls that are over: the part of a gateway that looks back.

    Args:
        departures, registry: As of `Calling`.
    """

    def __init__(self, departures: Departures, registry: Registry) -> None:
        super().__init__(departures, registry)
        self._decisions: Final[deque[DecisionRecord]] = deque(maxlen=KEPT_DECISIONS)

    @property
    def plugins(self) -> tuple[tuple[str, object], ...]:
        """(name, plugin) in run order, the built-in ones included."""
        return self.registry.plugins

    @property
    def decisions(self) -> tuple[DecisionRecord, ...]:
        """The last 1,000 decision records, oldest first."""
        return tuple(self._decisions)

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
        foreseen: list[Foreseen] = []
        call = self._supposed(what, messages or (), context, tags, call_id, params)
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
        foreseen: list[Foreseen] = []
        call = self._supposed(what, messages or (), context, tags, call_id, params)
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

    @property
    def limits(self) -> tuple[LimitStanding, ...]:
        """How each limit stands now, for everybody whom this process has had to do with."""
        return tuple(row for _, one in self.plugins if isinstance(one, Limits) for row in one.report())

    def _supposed(
        self,
        what: str | Request,
        messages: Messages,
        context: Context | None,
        tags: Mapping[str, str] | None,
        call_id: str | None,
        params: Mapping[str, Any],
    ) -> Call:
        """A call that will not be made."""
        if isinstance(what, str):
            what = Request(model=what, messages=to_messages(messages), params=params, tags=tags or EMPTY)
        call = self._departures.call(what, context, None, call_id or supposed_id())
        call.named = False  # nobody repeats it
        call.hypothetical = True
        return call

    def _remember(self, record: DecisionRecord) -> None:
        """Keep a finished record, without the errors: they hold on to frames, and so to prompts."""
        for place, (attempt, outcome) in enumerate(record.attempts):
            if outcome.error is not None:
                record.attempts[place] = attempt, replace(outcome, error=None)
        self._decisions.append(record)
