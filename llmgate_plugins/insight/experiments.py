"""How the arms of experiments fare, by the books: figures, differences, and how sure they are."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, literal, select

from llmgate_plugins.insight.books import Books, open_books
from llmgate_plugins.insight.comparing import UNKNOWN, Better, Difference, Estimate, Sample, compared
from llmgate_plugins.insight.spans import Moment, Span, during, span_of
from llmgate_plugins.intervals import patience, z_of
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.ledger.schema import assignments, calls, feedback
from llmgate_plugins.services import Ledger
from llmgate_plugins.types import EMPTY, NANO

__all__ = ["ArmResult", "ExperimentResult", "read_experiments"]

MEASURES: Final[Mapping[str, Better]] = {
    "success": "higher",
    "cost_usd": "lower",
    "cost_per_1k_usd": "lower",
    "p50_s": "lower",
    "p95_s": "lower",
    "score": "higher",
}
"""What arms are compared by -> which way is better."""

_SHARES: Final = ("success", "score")
"""Measures between 0 and 1: a difference to be found is one in these, and not a part of control's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """How one arm fares.

    Attributes:
        units: What was assigned to it and made calls.
        calls: Those that were answered or failed.
        rated: Those that somebody judged.
        left_out: Calls that are neither: status -> how many.
        success: Share of calls that succeeded.
        cost_usd, cost_per_1k_usd: Dollars for a call, and for a thousand tokens.
        p50_s, p95_s: Seconds of the calls that succeeded.
        score: Mean of the scores.
        differences: Measure -> this arm against control; empty for control itself.
    """

    arm: str
    is_control: bool
    units: int
    calls: int
    rated: int
    left_out: Mapping[str, int] = field(default=EMPTY)
    success: Estimate = UNKNOWN
    cost_usd: Estimate = UNKNOWN
    cost_per_1k_usd: Estimate = UNKNOWN
    p50_s: Estimate = UNKNOWN
    p95_s: Estimate = UNKNOWN
    score: Estimate = UNKNOWN
    differences: Mapping[str, Difference] = field(default=EMPTY)

    def to_dict(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return {
            "arm": self.arm,
            "is_control": self.is_control,
            "units": self.units,
            "calls": self.calls,
            "rated": self.rated,
            "left_out": dict(self.left_out),
            **{name: getattr(self, name)._asdict() for name in MEASURES},
            "differences": {name: one._asdict() for name, one in self.differences.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """How the arms of one experiment fare. Iterates over them, control first.

    Attributes:
        confidence: Of each interval, by itself.
        once: Whether intervals are those of one look, planned beforehand; else they hold however
            often one looks.
        detect: The difference that should be found: a part of control's cost and times, and as it
            is for success and scores.
        score: Whose mean `score` is: the name of the feedback.
        canary: How far it has come, where that is known.
    """

    name: str
    since: float | None
    until: float | None
    confidence: float
    once: bool
    detect: float
    score: str
    arms: tuple[ArmResult, ...]
    canary: Mapping[str, Any] | None = None

    def __iter__(self) -> Iterator[ArmResult]:
        return iter(self.arms)

    def __getitem__(self, arm: str) -> ArmResult:
        """The arm of this name. Raises `KeyError`."""
        for one in self.arms:
            if one.arm == arm:
                return one
        raise KeyError(arm)

    def to_dict(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return {
            "name": self.name,
            "since": self.since,
            "until": self.until,
            "confidence": self.confidence,
            "method": METHODS["once" if self.once else "always"],
            "detect": self.detect,
            "score": self.score,
            "canary": None if self.canary is None else dict(self.canary),
            "arms": [one.to_dict() for one in self.arms],
        }


METHODS: Final[Mapping[str, str]] = {
    "once": "Wilson, ratio estimator, Woodruff; differences by Newcombe and MOVER; for one look",
    "always": "the same, as wide as an asymptotic confidence sequence, however often one looks",
}
"""How intervals are made, in short; docs/explanation/experiments.md has the sources."""


def read_experiments(
    ledger: Ledger | str,
    name: str | None = None,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    zone: str = "UTC",
    confidence: float = 0.95,
    once: bool = False,
    detect: float = 0.05,
    score: str = "quality",
    controls: Mapping[str, str] = EMPTY,
    now: float | None = None,
) -> tuple[ExperimentResult, ...]:
    """How the arms of experiments fare, by name of the experiment.

    Args:
        ledger: A gateway's, or the URL of one in a database.
        name: Of one experiment; None for all that the books have in this span.
        since, until, zone: As of `read_report`.
        confidence: Of each interval.
        once: Intervals for one look that was planned beforehand: narrower, and wrong more often
            than they say for whoever looks again and again.
        detect: The difference that should be found (see `ExperimentResult`).
        score: Name of the feedback that counts.
        controls: Experiment -> its control; default: the arm of that name, else the largest.
        now: Unix time that durations are counted back from; None for the machine's clock.

    Raises:
        ValueError: Something of this makes no sense.
        ConfigurationError: No such ledger.
        StorageError: It could not be read.
    """
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is at least 0.5 and below 1, not {confidence!r}")
    if not detect > 0:
        raise ValueError(f"the difference to be found is above 0, not {detect!r}")
    span = span_of(since, until, now=time.time() if now is None else now, zone=zone)
    with open_books(ledger) as books:
        samples, left_out = _samples(books, name, span, score)
    results = []
    for experiment in sorted(samples):
        arms, away = samples[experiment], left_out[experiment]
        control = controls.get(experiment) or _control(arms)
        units = sum(len(one.units) for one in arms.values())
        width = z_of(confidence) if once else patience(units, 1 - confidence)
        made = [_result(arm, arm == control, one, away[arm], width) for arm, one in arms.items()]
        made.sort(key=lambda one: (not one.is_control, one.arm))
        results.append(
            ExperimentResult(
                name=experiment,
                since=span.since,
                until=span.until,
                confidence=confidence,
                once=once,
                detect=detect,
                score=score,
                arms=tuple(_against(made[0], one, detect, width) for one in made),
            )
        )
    return tuple(results)


_Arms = dict[str, Sample]


def _samples(
    books: Books, name: str | None, span: Span, score: str
) -> tuple[dict[str, _Arms], dict[str, dict[str, dict[str, int]]]]:
    chosen = during(span, assignments.c.at)
    if name is not None:
        chosen.append(assignments.c.experiment == name)
    scores = _scores(books, chosen, score)
    tokens: ColumnElement[int] = sum((calls.c[column] for column in TOKEN_COLUMNS), literal(0))
    query = (
        select(
            assignments.c.experiment,
            assignments.c.arm,
            assignments.c.unit_hash,
            assignments.c.call_id,
            calls.c.status,
            calls.c.cost_nano_usd,
            tokens,
            calls.c.latency_s,
        )
        .join(calls, calls.c.call_id == assignments.c.call_id)
        .where(*chosen, calls.c.shadow_of.is_(None))
    )
    samples: dict[str, _Arms] = defaultdict(dict)
    left_out: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for experiment, arm, unit, call_id, status, cost, spent, seconds in books.connection.execute(query):
        sample = samples[experiment].get(arm)
        if sample is None:
            sample = samples[experiment][arm] = Sample()
        if status not in ("success", "error"):
            away = left_out[experiment][arm]
            away[status] = away.get(status, 0) + 1
            continue
        sample.add(
            unit or call_id,
            success=status == "success",
            cost=int(cost),
            tokens=int(spent),
            seconds=seconds,
            score=scores.get(call_id),
        )
    return samples, left_out


def _scores(books: Books, chosen: list[ColumnElement[bool]], score: str) -> dict[str, float]:
    """Call -> its score: the last one that was given."""
    query = (
        select(feedback.c.call_id, feedback.c.score)
        .join(assignments, assignments.c.call_id == feedback.c.call_id)
        .where(*chosen, feedback.c.name == score, feedback.c.score.is_not(None))
        .order_by(feedback.c.at, feedback.c.id)
    )
    return {row.call_id: row.score for row in books.connection.execute(query)}


def _control(arms: Mapping[str, Sample]) -> str:
    return "control" if "control" in arms else max(arms, key=lambda arm: (arms[arm].calls, arm))


def _result(
    arm: str, is_control: bool, sample: Sample, left_out: Mapping[str, int], width: float
) -> ArmResult:
    return ArmResult(
        arm=arm,
        is_control=is_control,
        units=len(sample.units),
        calls=sample.calls,
        rated=sample.rated,
        left_out=dict(sorted(left_out.items())),
        success=sample.success(width),
        cost_usd=_in_dollars(sample.cost(width)),
        cost_per_1k_usd=_in_dollars(sample.cost_per_1k(width)),
        p50_s=sample.quantile(0.50, width),
        p95_s=sample.quantile(0.95, width),
        score=sample.score(width),
    )


def _in_dollars(found: Estimate) -> Estimate:
    return Estimate(*(None if one is None else one / NANO for one in found))


def _against(control: ArmResult, arm: ArmResult, detect: float, width: float) -> ArmResult:
    if arm.is_control or not control.is_control:
        return arm
    differences = {}
    for measure, better in MEASURES.items():
        of_control: Estimate = getattr(control, measure)
        least = detect if measure in _SHARES else detect * (of_control.value or 0.0)
        found = compared(
            of_control,
            getattr(arm, measure),
            better=better,
            least=least,
            width=width,
            calls=arm.rated if measure == "score" else arm.calls,
        )
        if found is not None:
            differences[measure] = found
    return replace(arm, differences=differences)
