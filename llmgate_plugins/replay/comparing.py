"""Two sides of the same calls, added up: what they were, and what they would have been."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.selections import MOST_NAMED
from llmgate_plugins.types import NANO

__all__ = ["Latencies", "Move", "Side", "comparable", "same_decisions"]

_WIDTH: Final = math.log(1.01)
MOST_MOVES: Final = 10_000
"""Different moves that are told apart."""


class Latencies:
    """Quantiles of any number of times, each within half a percent, in memory that does not grow."""

    __slots__ = ("_counts", "number")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.number = 0

    def add(self, seconds: float) -> None:
        """Take one in."""
        self._counts[math.floor(math.log(max(seconds, 1e-6)) / _WIDTH)] += 1
        self.number += 1

    def quantile(self, share: float) -> float | None:
        """By nearest rank; None if there are none."""
        left = max(1, math.ceil(share * self.number))
        for place in sorted(self._counts):
            left -= self._counts[place]
            if left <= 0:
                return math.exp((place + 0.5) * _WIDTH)
        return None


@dataclass(slots=True)
class Side:
    """How the calls went on one side.

    Attributes:
        succeeded: Whose callers got an answer, from a model or a cache.
        blocked: That were denied.
        failed: That ended with an error.
        left: Whose callers went away.
        cost: Nano-dollars.
        latencies: Of those that succeeded, as far as they are known.
    """

    calls: int = 0
    succeeded: int = 0
    blocked: int = 0
    failed: int = 0
    left: int = 0
    cost: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, record: DecisionRecord, *, latency_known: bool = True) -> None:
        """Take a call in."""
        self.calls += 1
        self.cost += record.cost
        match record.status:
            case "success" | "answered":
                self.succeeded += 1
                if latency_known:
                    self.latencies.add(record.latency)
            case "denied":
                self.blocked += 1
            case "error":
                self.failed += 1
            case _:
                self.left += 1

    @property
    def success(self) -> float | None:
        """Share of the calls that succeeded, of those whose callers stayed; None of none."""
        stayed = self.calls - self.left
        return self.succeeded / stayed if stayed else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "calls": self.calls,
            "succeeded": self.succeeded,
            "success": self.success,
            "blocked": self.blocked,
            "failed": self.failed,
            "left": self.left,
            "cost_usd": self.cost / NANO,
            "p50_s": self.latencies.quantile(0.5),
            "p95_s": self.latencies.quantile(0.95),
        }


@dataclass(frozen=True, slots=True)
class Move:
    """Calls that would have been served elsewhere.

    Attributes:
        policy: The one they would have been under; None for none.
        served_then, served_now: Deployment ids; None for no answer.
    """

    policy: str | None
    alias: str
    served_then: str | None
    served_now: str | None


def same_decisions(one: DecisionRecord, other: DecisionRecord) -> bool:
    """Whether both were under the same policy, chose among the same, in the same order, and ended alike."""
    return _decided(one) == _decided(other)


def _decided(record: DecisionRecord) -> tuple[Any, ...]:
    return (
        record.status,
        record.policy,
        record.rule,
        record.reason,
        [(one.alias, one.ranked_by, one.order[:MOST_NAMED], dict(one.reasons)) for one in record.selections],
        [
            (attempt.deployment.id, attempt.reason, outcome.status, outcome.skipped, outcome.cost)
            for attempt, outcome in record.attempts
        ],
    )


_NOT_COMPARED: Final = frozenset({"trace_id", "error", "problems", "shape", "context", "tags"})
"""What is no decision, or is the same by nature."""


def comparable(record: DecisionRecord) -> dict[str, Any]:
    """What of a record a replay under the same configuration must bring out the same, as plain values.

    All that was considered, dropped, scored and chosen, each attempt with its end, its times,
    its tokens and its cost. Left out are the words of errors, and what neither side decides.
    """
    told = record.to_dict()
    return dict(_compared(told))


def _compared(told: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in told.items():
        if name == "attempts":
            yield name, [{key: one for key, one in attempt.items() if key != "adapted"} for attempt in value]
        elif name not in _NOT_COMPARED:
            yield name, value
