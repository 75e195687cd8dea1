"""Carries recorded calls through a gateway on virtual time, each at its own moment."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final

from llmgate_plugins._alerting.alerting import Alerting
from llmgate_plugins.alerts import Alert
from llmgate_plugins.assembly import assemble
from llmgate_plugins.config import GatewayConfig
from llmgate_plugins.errors import UnknownModel
from llmgate_plugins.follow_ups import FollowUps
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.ledger import MemoryLedger
from llmgate_plugins.plugins import (
    Contents,
    Idempotency,
    LedgerAccounting,
    Limits,
    SloAlerts,
    SpendAnomalies,
    Telemetry,
)
from llmgate_plugins.plugins.limits import words
from llmgate_plugins.plugins.shadow import ShadowPolicies, ShadowTraffic
from llmgate_plugins.plugins.watching import ExpiryAlerts, FailureAlarms
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.replay.comparing import MOST_MOVES, Move, same_decisions
from llmgate_plugins.replay.history import History
from llmgate_plugins.replay.plugins import AsRecorded
from llmgate_plugins.replay.recorded import RecordedCall, request_of
from llmgate_plugins.replay.result import Refusing, Replay
from llmgate_plugins.replay.transport import HostReplayTransport, ReplayTransport
from llmgate_plugins.state import MemoryState
from llmgate_plugins.transport import Transport
from llmgate_plugins.virtual_time import LoopClock, LoopSleeper, VirtualLoop

__all__ = ["Run"]

LEFT_OUT: Final = (
    *(Contents, ExpiryAlerts, FailureAlarms, Idempotency, LedgerAccounting, ShadowPolicies, ShadowTraffic),
    *(SloAlerts, SpendAnomalies, Telemetry),
)
"""Plugins that tell, keep or send what is no decision, or need words that the books do not have."""
LATE: Final = 0.001
"""Seconds after which a reader who left a stream at a piece of it leaves at the latest."""


class _Muted(Alerting):
    """Tells nobody."""

    def report(self, alert: Alert) -> None:
        """Nothing."""


class Run:
    """One replay under way.

    Args:
        config: What the gateway is built from.
        result: Is filled in.
        each: Told (record then, record now) of each call within the span.
        progress: Told how many calls have begun, and Unix time of the last.
        plugins: Of the application's, as a gateway takes them.
    """

    def __init__(
        self,
        config: GatewayConfig,
        result: Replay,
        *,
        each: Callable[[DecisionRecord, DecisionRecord], None] | None = None,
        progress: Callable[[int, float], None] | None = None,
        plugins: Iterable[object] = (),
    ) -> None:
        self._config = config
        self._result = result
        self._each = each
        self._progress = progress
        self._plugins = tuple(plugins)
        self._history = History(result.seed)
        self._keeper = AsRecorded(self._ended)
        self._transports: dict[str, ReplayTransport] = {}
        self._gateway: Gateway

    async def main(
        self, loop: VirtualLoop, offset: float, batches: Iterator[list[RecordedCall]], ledger: MemoryLedger
    ) -> None:
        """Replay them all."""
        clock = LoopClock(loop, time=offset)
        self._gateway = gateway = self._built(clock, ledger)
        self._keeper.there = {name for name, _ in gateway.plugins if name != AsRecorded.name}
        with _rubbish_of_its_own():
            await self._carry_all(loop, clock, batches)
        self._result.limits = tuple(self._limits())

    async def _carry_all(
        self, loop: VirtualLoop, clock: LoopClock, batches: Iterator[list[RecordedCall]]
    ) -> None:
        tasks: set[asyncio.Task[None]] = set()
        begun = 0
        for batch in batches:
            self._history.add(batch)
            for call in batch:
                if call.record.shadow_of is not None:
                    continue  # it tells how its deployment was; nobody waited for it
                delay = call.record.at - clock.time()
                if delay > 0:
                    await asyncio.sleep(delay)
                task = loop.create_task(self._carry(call, loop))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                begun += 1
            if self._progress is not None:
                self._progress(begun, batch[-1].record.at)
        if tasks:
            await asyncio.wait(tasks)

    # ------------------------------------------------------------ the gateway

    def _built(self, clock: LoopClock, ledger: MemoryLedger) -> Gateway:
        """The real one, with everything that reaches outside taken away."""
        follow_ups = FollowUps()
        follow_ups.close()
        services: Mapping[str, Any] = {
            "clock": clock,
            "sleeper": LoopSleeper(),
            "random": random.Random(f"replay/{self._result.seed}"),  # noqa: S311 - not for cryptography
            "state": MemoryState(clock=clock),
            "ledger": ledger,
            "transport": _NOWHERE,
            "alerts": _Muted(),
            "follow_ups": follow_ups,
        }
        made = assemble(self._config, plugins=self._plugins, services=services, check_secrets=False)
        made["plugins"] = [
            self._keeper,
            *(
                one
                for one in made["plugins"]
                if not isinstance(one, LEFT_OUT) and not hasattr(one, "deliver_alert")
            ),
        ]
        return Gateway(**made)

    # ------------------------------------------------------------ one call

    async def _carry(self, call: RecordedCall, loop: VirtualLoop) -> None:
        record, gateway = call.record, self._gateway
        self._keeper.calls[record.call_id] = call
        transport = self._transport(call)
        self._transports[record.call_id] = transport
        request = request_of(record)
        given: dict[str, Any] = {
            "context": record.context,
            "transport": transport,
            "call_id": record.call_id,
            "deadline": record.shape.get("timeout"),
        }
        task, leaves = asyncio.current_task(), None
        if call.was_left and task is not None:
            late = LATE if record.status == "abandoned" and record.stream else 0.0
            leaves = loop.call_later(record.latency + late, task.cancel)
        try:
            if request.stream:
                async with aclosing(gateway.astream(request, **given)) as chunks:
                    until = loop.time() + record.latency
                    async for _ in chunks:
                        if record.status == "abandoned" and loop.time() >= until:
                            break
            else:
                await gateway.acomplete(request, **given)
        except UnknownModel:
            if call.counts:
                self._result.unknown_models[record.model] += 1
        except (Exception, asyncio.CancelledError):  # noqa: BLE001, S110 - the new record says what happened
            pass
        finally:
            if leaves is not None:
                leaves.cancel()
            self._keeper.calls.pop(record.call_id, None)
            self._transports.pop(record.call_id, None)

    def _transport(self, call: RecordedCall) -> ReplayTransport:
        """A host's own strategy picks again as it did, where no plugin ranks."""
        record = call.record
        first = record.selections[0] if record.selections else None
        host_picked = (
            first is not None
            and first.ranked_by is None
            and bool(record.attempts)
            and first.order[:1] != (record.attempts[0][0].deployment.id,)
        )
        if host_picked:
            return HostReplayTransport(call, self._history, self._gateway.routes)
        return ReplayTransport(call, self._history)

    # ------------------------------------------------------------ how it ended

    def _ended(self, call: RecordedCall, now: DecisionRecord) -> None:
        then, result = call.record, self._result
        if not call.counts:
            result.led_up += 1
            return
        transport = self._transports.get(then.call_id)
        sources = [one.source for one in transport.played.values()] if transport is not None else []
        result.attempts.update(sources)
        result.uncertain += any(source != "recorded" for source in sources)
        unknown = bool(sources) and sources[-1] == "unknown"
        result.latency_unknown += unknown and now.status == "success"
        result.original.add(then)
        result.replayed.add(now, latency_known=not unknown)
        if then.denied_by is not None and then.denied_by not in self._keeper.there:
            result.absent[then.denied_by] += 1
        if now.status == "denied" and then.status != "denied":
            result.newly_blocked += 1
        elif then.status == "denied" and now.status != "denied":
            result.no_longer_blocked += 1
        if now.served_by != then.served_by:
            move = Move(now.policy, now.model, then.served_by, now.served_by)
            if move in result.moves or len(result.moves) < MOST_MOVES:
                result.moves[move] += 1
        result.same += same_decisions(then, now)
        if self._each is not None:
            self._each(then, now)

    def _limits(self) -> Iterator[Refusing]:
        """Limits that refused, most first."""
        found = [
            (row.refused, words.told(row.limit, tuple(row.scope.values())))
            for _, plugin in self._gateway.plugins
            if isinstance(plugin, Limits)
            for row in plugin.report()
            if row.refused
        ]
        for refused, told in sorted(found, key=lambda one: (-one[0], one[1])):
            yield Refusing(told, refused)


@contextmanager
def _rubbish_of_its_own() -> Iterator[None]:
    """The garbage collector does not go through what was there before, which takes it a sixth of the time."""
    if gc.get_freeze_count():  # the application has done so itself
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Nowhere:
    """Stands where a gateway wants a transport; every replayed call brings its own."""


_NOWHERE: Final[Transport] = _Nowhere()  # type: ignore[assignment]


def begins_at(first: float) -> tuple[float, float]:
    """(offset of the virtual clock, its reading) a little before the first call.

    The offset is whole, so that moments of a recording made on virtual time come out exactly.
    """
    offset = math.floor(first) - 1_010.0
    return offset, 1_000.0
