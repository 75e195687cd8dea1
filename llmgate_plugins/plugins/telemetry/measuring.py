"""From a call that has ended to numbers: metrics whose attributes have few values, whatever callers send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.plugins.telemetry import names as n
from llmgate_plugins.plugins.telemetry.attributes import error_type
from llmgate_plugins.plugins.telemetry.instruments import Names, instruments
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import NANO, Attempt, Outcome

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

__all__ = ["MOST_VALUES", "Measuring"]

MOST_VALUES: Final = 1000
"""So many values of one attribute are told apart; all further ones are `_OTHER`."""


class Measuring:
    """Records one gateway's calls. Thread-safe.

    Args:
        names: Of the conventions' metrics.
        facts: Fields of `Context` that become attributes of every metric.
    """

    def __init__(self, meter: Meter, names: Names, facts: Sequence[str]) -> None:
        self._instruments = instruments(meter, names)
        self._current = names in ("current", "both")
        self._next = names in ("next", "both")
        self._facts = tuple((fact, n.CONTEXT + fact) for fact in facts)
        self._values: dict[str, set[str]] = {}

    def count_call(self, record: DecisionRecord, gaps: Mapping[int, Sequence[float]]) -> None:
        """Everything there is to count of a call that has ended.

        Args:
            gaps: Number of an attempt -> seconds between its stream's chunks.
        """
        shared = self._shared(record)
        last: tuple[Attempt, Outcome] | None = None
        for attempt, outcome in record.attempts:
            attributes = self._of(attempt, outcome, shared)
            failure = outcome.failure
            how: dict[str, str] = {n.ATTEMPT_REASON: attempt.reason, n.ATTEMPT_STATUS: outcome.status}
            if failure is not None:
                how[n.ERROR_TYPE] = failure.error_class.value
            self._add(n.SENT, 1, {**attributes, **how})
            if outcome.status == "skipped":
                continue
            last = attempt, outcome
            self._spent(record.operation, outcome, attributes)
            for gap in gaps.get(attempt.number, ()):
                self._both(n.PER_CHUNK, n.NEXT_PER_CHUNK, gap, attributes)
        attributes = self._of(*last, shared) if last is not None else self._unsent(record, shared)
        failed = error_type(record)
        ended = (
            attributes if failed is None else {**attributes, n.ERROR_TYPE: self._few(n.ERROR_TYPE, failed)}
        )
        self._add(n.CALLS, 1, {**ended, n.CALL_STATUS: record.status})
        next_duration = n.NEXT_EMBEDDINGS if record.operation == "embedding" else n.NEXT_DURATION
        self._both(n.DURATION, next_duration, record.latency, ended)
        if record.first_token is not None:
            self._both(n.FIRST_CHUNK, n.NEXT_FIRST_CHUNK, record.first_token, attributes)

    def count_alert(self, alert: Alert) -> None:
        """An alert that is told, or told to be over."""
        self._add(
            n.ALERTS,
            1,
            {
                n.ALERT_KIND: self._few(n.ALERT_KIND, alert.kind),
                n.ALERT_SEVERITY: alert.severity,
                n.ALERT_STATUS: "resolved" if alert.resolved else "firing",
            },
        )

    def _spent(self, operation: str, outcome: Outcome, attributes: dict[str, Any]) -> None:
        """Tokens and money of an attempt."""
        if outcome.cost:
            self._add(n.SPENT, outcome.cost / NANO, attributes)
        usage = outcome.usage
        read, written = usage.total_input, usage.total_output
        if not read and not written:
            return
        if self._current:
            usages = self._instruments[n.TOKEN_USAGE]
            usages.record(read, {**attributes, n.TOKEN_TYPE: "input"})
            if written:
                usages.record(written, {**attributes, n.TOKEN_TYPE: "output"})
        if not self._next:
            return
        if operation == "embedding":
            self._instruments[n.NEXT_EMBEDDINGS_SIZE].record(read, attributes)
            return
        self._instruments[n.NEXT_INPUT_SIZE].record(read, attributes)
        self._instruments[n.NEXT_OUTPUT_SIZE].record(written, attributes)
        told_apart = {**attributes, n.TOKEN_MODALITY: "unknown"}
        for name, tokens in (
            (n.NEXT_INPUT, read),
            (n.NEXT_OUTPUT, written),
            (n.NEXT_CACHE_READ, usage.cached_input),
            (n.NEXT_CACHE_WRITE, usage.cache_write + usage.cache_write_1h),
            (n.NEXT_REASONING, usage.reasoning),
        ):
            if tokens:
                self._add(name, tokens, told_apart)

    def _shared(self, record: DecisionRecord) -> dict[str, Any]:
        """What all metrics of a call have."""
        found: dict[str, Any] = {
            n.OPERATION: n.operation(record.operation),
            n.ALIAS: self._few(n.ALIAS, record.model),
        }
        if record.policy is not None:
            found[n.POLICY] = self._few(n.POLICY, record.policy)
        for fact, name in self._facts:
            value = getattr(record.context, fact)
            if value is not None:
                found[name] = self._few(name, str(value))
        return found

    def _of(self, attempt: Attempt, outcome: Outcome, shared: dict[str, Any]) -> dict[str, Any]:
        deployment = attempt.deployment
        found = {
            **shared,
            n.PROVIDER: n.provider(deployment.provider),
            n.REQUEST_MODEL: self._few(n.REQUEST_MODEL, deployment.model),
            n.DEPLOYMENT: self._few(n.DEPLOYMENT, deployment.id),
        }
        if outcome.model is not None:
            found[n.RESPONSE_MODEL] = self._few(n.RESPONSE_MODEL, outcome.model)
        if deployment.region is not None:
            found[n.REGION] = deployment.region
        return found

    def _unsent(self, record: DecisionRecord, shared: dict[str, Any]) -> dict[str, Any]:
        return {**shared, n.PROVIDER: n.OURSELVES, n.REQUEST_MODEL: self._few(n.REQUEST_MODEL, record.model)}

    def _few(self, name: str, value: str) -> str:
        """The value, or `_OTHER` where this attribute has had too many."""
        seen = self._values.setdefault(name, set())
        if value not in seen:
            if len(seen) >= MOST_VALUES:
                return n.OTHER
            seen.add(value)
        return value

    def _add(self, name: str, amount: float, attributes: dict[str, Any]) -> None:
        self._instruments[name].add(amount, attributes)

    def _both(self, current: str, following: str, seconds: float, attributes: dict[str, Any]) -> None:
        if self._current:
            self._instruments[current].record(seconds, attributes)
        if self._next:
            self._instruments[following].record(seconds, attributes)
