"""Live statistics: what the last seconds, minutes and hours of this process were like."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.insight.series import COARSE, FINE, Series, Slice
from llmgate_plugins.insight.sketch import Sketch, require_fastdigest
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Clock, Services
from llmgate_plugins.types import EMPTY, NANO, Deployment

__all__ = ["LiveBy", "LiveRow", "LiveStatistics", "live_of"]

LiveBy: TypeAlias = Literal["deployment", "model", "provider", "region", "alias", "route"]
"""`alias`: attempts by the alias of their deployment. `route`: calls by the alias asked for."""

KEPT: Final = 256
"""Deployments and routes of which statistics are kept; of more, those used last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """What one deployment, model, provider, region or alias was like in a span of time.

    Times are those of answers: a failure's own time is in none of them. `count` is all that was
    sent; what a caller cancelled or left is in it, but is neither a success nor a failure.

    Attributes:
        by, name: What it is about: "deployment", "openai-us".
        seconds: How long the span is: what was asked for, up to whole time slices, but no
            longer than since the first call.
        count, successes, failures: Attempts (of `by="route"`: calls).
        p50, p95, p99: Seconds to the whole answer; None without any answer.
        first_token_p50, first_token_p95, first_token_p99: Seconds to the first content of a
            stream; None without any.
        error_classes: How many failures of each class.
        tokens: Of all buckets.
        cost: Nano-dollars.
    """

    by: LiveBy
    name: str
    seconds: float
    count: int
    successes: int
    failures: int
    p50: float | None
    p95: float | None
    p99: float | None
    first_token_p50: float | None
    first_token_p95: float | None
    first_token_p99: float | None
    error_classes: Mapping[str, int] = field(default=EMPTY)
    tokens: int = 0
    cost: int = 0
    _latency: Sketch = field(default_factory=Sketch, repr=False, compare=False)

    @property
    def error_rate(self) -> float:
        """Failures among what succeeded or failed, 0 to 1; 0 where nothing did."""
        ended = self.successes + self.failures
        return self.failures / ended if ended else 0.0

    @property
    def throttles(self) -> int:
        """Failures of class "rate_limit"."""
        return self.error_classes.get("rate_limit", 0)

    @property
    def timeouts(self) -> int:
        """Failures of class "timeout"."""
        return self.error_classes.get("timeout", 0)

    @property
    def per_second(self) -> float:
        """How many in a second."""
        return self.count / self.seconds if self.seconds else 0.0

    @property
    def usd_per_hour(self) -> float:
        """What an hour like this costs."""
        return self.cost / NANO * 3600 / self.seconds if self.seconds else 0.0

    def slower_than(self, seconds: float) -> float:
        """The share of answers that took longer than this, 0 to 1."""
        return self._latency.share_above(seconds)


class LiveStatistics:
    """Keeps latency, failures, throughput and cost of this process's last hours in bounded memory.

    The last ten minutes are kept in slices of 10 s, six hours in slices of five minutes, each
    with a sketch of its latencies, which are merged when somebody asks. Exact figures over any
    time, of all processes, are in the ledger (`gateway.report`). An attempt is counted when its
    call ends.

    Needs the extra `[insight]`.

    Args:
        keys: The most deployments and routes to keep statistics of; of more, those used last.
            One that is busy takes up to half a megabyte.

    Raises:
        ConfigurationError: fastdigest is not installed.
        ValueError: `keys` is below 1.
    """

    def __init__(self, *, keys: int = KEPT) -> None:
        if keys < 1:
            raise ValueError(f"statistics are kept of one deployment at least, not of {keys}")
        require_fastdigest()
        self.keys = keys
        self._deployments: OrderedDict[str, Series] = OrderedDict()
        self._routes: OrderedDict[str, Series] = OrderedDict()
        self._lock = threading.Lock()
        self._clock: Clock | None = None
        self._since = 0.0

    @hookimpl
    def end_call(self, record: DecisionRecord, services: Services) -> None:
        """Count a call for the alias that was asked for, and its attempts for their deployments.

        Shadows of calls are left out: nobody waits for them."""
        if record.shadow_of is not None:
            return
        clock = services.clock
        now = clock.monotonic()
        with self._lock:
            if self._clock is None:
                self._clock, self._since = clock, now
            whole = self._slice(self._routes, record.model, now)
            whole.count += 1
            for attempt, outcome in record.attempts:
                status = outcome.status
                if status == "skipped":
                    continue
                deployment = attempt.deployment
                part = self._slice(self._deployments, deployment.id, now, deployment)
                part.count += 1
                cost, tokens = outcome.cost, outcome.usage.total
                part.cost += cost
                part.tokens += tokens
                whole.cost += cost
                whole.tokens += tokens
                if status == "success":
                    part.succeed(outcome.latency, outcome.first_token)
                elif status == "error":
                    failure = outcome.failure
                    part.fail("unknown" if failure is None else failure.error_class.value)
            if record.status in ("success", "answered"):
                whole.succeed(record.latency, record.first_token)
            elif record.status == "error":
                whole.fail(_class_of(record))

    def window(self, seconds: float, by: LiveBy = "deployment") -> tuple[LiveRow, ...]:
        """How things were in the last `seconds`, a row for each name that had anything, by name.

        Args:
            seconds: Up to 21,600. Whole slices are taken: the span is up to 10 s longer, of
                more than ten minutes up to five minutes longer.
            by: What to bring together.

        Raises:
            ValueError: `seconds` is out of range, or there is no such `by`.
        """
        if by not in get_args(LiveBy):
            raise ValueError(f"live statistics are by {', '.join(get_args(LiveBy))}, not by {by!r}")
        if not 0 < seconds <= COARSE.seconds:
            raise ValueError(f"live statistics are of the last {COARSE.seconds:g} s at most, not {seconds!r}")
        ring = FINE if seconds <= FINE.seconds else COARSE
        groups: defaultdict[str, list[Slice]] = defaultdict(list)
        with self._lock:
            if self._clock is None:
                return ()
            now = self._clock.monotonic()
            start = ring.start(now - seconds)
            for series in (self._routes if by == "route" else self._deployments).values():
                groups[series.names[by]] += series.since(ring, start)
            covered = now - max(start, self._since)
            return tuple(_row(by, name, covered, parts) for name, parts in sorted(groups.items()) if parts)

    def _slice(
        self, kept: OrderedDict[str, Series], name: str, now: float, deployment: Deployment | None = None
    ) -> Slice:
        """The slice of now."""
        series = kept.get(name)
        if series is not None:
            if series.current.ends > now:
                return series.current
            kept.move_to_end(name)  # so the order is right to ten seconds
            return series.next(now)
        series = kept[name] = Series(_names(name, deployment), now)
        if len(kept) > self.keys:
            kept.popitem(last=False)
        return series.current


def live_of(plugins: Iterable[tuple[str, object]]) -> LiveStatistics:
    """The live statistics among a gateway's plugins.

    Raises:
        ConfigurationError: There are none.
    """
    for _, plugin in plugins:
        if isinstance(plugin, LiveStatistics):
            return plugin
    raise ConfigurationError(
        "this gateway keeps no live statistics; give it the plugin llmgate_plugins.insight.LiveStatistics"
    )


def _names(name: str, deployment: Deployment | None) -> Mapping[str, str]:
    """What to call it, by what rows may be brought together by."""
    if deployment is None:
        return {"route": name}
    return {
        "deployment": name,
        "model": deployment.model,
        "provider": deployment.provider,
        "region": deployment.region or "",
        "alias": deployment.alias,
    }


def _class_of(record: DecisionRecord) -> str:
    """The class of the failure that a call ended with; "unavailable" if nothing could be tried."""
    for _, outcome in reversed(record.attempts):
        if outcome.failure is not None:
            return outcome.failure.error_class.value
    return "unavailable"


def _row(by: LiveBy, name: str, seconds: float, parts: Sequence[Slice]) -> LiveRow:
    latency = Sketch.merged(part.latency for part in parts)
    first_token = Sketch.merged(part.first_token for part in parts)
    classes: defaultdict[str, int] = defaultdict(int)
    for part in parts:
        for error_class, number in part.error_classes.items():
            classes[error_class] += number
    return LiveRow(
        by=by,
        name=name,
        seconds=seconds,
        count=sum(part.count for part in parts),
        successes=sum(part.successes for part in parts),
        failures=sum(classes.values()),
        p50=latency.quantile(0.50),
        p95=latency.quantile(0.95),
        p99=latency.quantile(0.99),
        first_token_p50=first_token.quantile(0.50),
        first_token_p95=first_token.quantile(0.95),
        first_token_p99=first_token.quantile(0.99),
        error_classes=dict(sorted(classes.items())),
        tokens=sum(part.tokens for part in parts),
        cost=sum(part.cost for part in parts),
        _latency=latency,
    )
