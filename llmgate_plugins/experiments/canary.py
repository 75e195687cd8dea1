"""How a canary stands: what its arms have done in this stage, and whether to go on, back or ahead."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal

from llmgate_plugins.experiments.experiment import Experiment, Rollback
from llmgate_plugins.intervals import Interval, mean_bounds, rate_bounds
from llmgate_plugins.records import DecisionRecord

__all__ = ["COUNTED", "Counts", "Course", "Status", "Times", "as_facts", "judged", "time_of"]

Status = Literal["running", "promoted", "rolled_back", "done"]

MICRO: Final = 1_000
"""Nano-dollars in a micro-dollar, in which costs are counted here: their squares stay below 2^63."""
ENOUGH_TIMES: Final = 100
"""Times of control that its p95 is worked out from."""
ENOUGH_COSTS: Final = 50
"""Calls of an arm before the mean of their costs is near enough to normal."""
_SLOW_SHARE: Final = 0.05


@dataclass(slots=True)
class Counts:
    """What an arm has done in a stage.

    Attributes:
        calls: Those that were answered or failed.
        troubled: Those of them that failed, or needed another attempt, or another alias.
        timed: Those whose time was compared with `Course.slow`.
        slow: Those of them that took longer.
        cost, cost_squares: Micro-dollars, and the sum of their squares.
    """

    calls: int = 0
    troubled: int = 0
    timed: int = 0
    slow: int = 0
    cost: int = 0
    cost_squares: int = 0

    def add(self, record: DecisionRecord, slow: float | None) -> None:
        """Count a call."""
        cost = round(record.cost / MICRO)
        self.calls += 1
        self.cost += cost
        self.cost_squares += cost * cost
        if _is_troubled(record):
            self.troubled += 1
        if slow is not None and record.status == "success":
            self.timed += 1
            self.slow += time_of(record) > slow


def _is_troubled(record: DecisionRecord) -> bool:
    """A candidate that is ejected fails no attempt: its calls go on to another alias at once."""
    return (
        record.status != "success"
        or any(outcome.status == "error" for _, outcome in record.attempts)
        or len({selection.alias for selection in record.selections}) > 1
    )


COUNTED: Final = tuple(one.name for one in fields(Counts))
"""What is counted of an arm; whole numbers, so that processes can add them up."""


@dataclass(frozen=True, slots=True)
class Course:
    """How far a canary has come; the same in all processes that share their state.

    Attributes:
        stage: Counted from 0.
        since: Unix time at which the stage began; None before its first call.
        status: "running"; "promoted": the candidate has all; "done": it stays at its last share;
            "rolled_back": control has all.
        round: Counted from 0: one that was taken back and is reset begins the next.
        slow: Seconds above which a call counts as slow in this stage: control's p95 and the
            tolerance. None while too little is known of control.
        why: Why it was taken back, in words.
    """

    stage: int = 0
    since: float | None = None
    status: Status = "running"
    slow: float | None = None
    why: str = ""
    round: int = 0

    @property
    def part(self) -> tuple[int, int, Status]:
        """What is counted apart from all else: round, stage, status."""
        return self.round, self.stage, self.status

    def share(self, experiment: Experiment) -> float:
        """The candidate's."""
        match self.status:
            case "promoted":
                return 1.0
            case "rolled_back":
                return 0.0
        return experiment.stages[self.stage].share

    def to_bytes(self) -> bytes:
        """For the state."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, kept: bytes, experiment: Experiment) -> Course | None:
        """As it was kept; None if that cannot be read."""
        try:
            course = cls(**json.loads(kept))
        except (ValueError, TypeError):
            return None
        return course if 0 <= course.stage < len(experiment.stages) else None


def judged(experiment: Experiment, course: Course, counts: Mapping[str, Counts], now: float) -> Course:
    """What follows from the counts of this stage, of all processes together; `course` if nothing does.

    Args:
        counts: Arm -> its counts.
        now: Unix time.
    """
    if course.status not in ("running", "done"):
        return course
    if course.since is None:
        return replace(course, since=now)
    control, candidate = counts[experiment.control or ""], counts[experiment.candidate.name]
    why = _objection(experiment, control, candidate)
    if why:
        return replace(course, status="rolled_back", since=now, why=why)
    stage = experiment.stages[course.stage]
    if course.status == "done" or now - course.since < stage.seconds or candidate.calls < stage.calls:
        return course
    if course.stage + 1 < len(experiment.stages):
        return Course(stage=course.stage + 1, since=now, round=course.round)
    status: Status = "promoted" if experiment.then == "promote" else "done"
    return replace(course, status=status, since=now if status == "promoted" else course.since)


def _objection(experiment: Experiment, control: Counts, candidate: Counts) -> str:
    """Why the candidate is surely worse; empty if it is not."""
    rules = experiment.rollback
    if min(control.calls, candidate.calls) < rules.calls:
        return ""
    # What may go wrong in all is shared out among stages and reasons, and between the two arms.
    alpha = (1 - rules.confidence) / max(rules.reasons, 1) / len(experiment.stages) / 2
    for found in (
        _errors(rules, control, candidate, alpha),
        _times(rules, control, candidate, alpha),
        _costs(rules, control, candidate, alpha),
    ):
        if found:
            return found
    return ""


def _errors(rules: Rollback, control: Counts, candidate: Counts, alpha: float) -> str:
    if rules.errors is None or candidate.troubled * control.calls <= control.troubled * candidate.calls:
        return ""
    here = rate_bounds(candidate.troubled, candidate.calls, alpha)
    there = rate_bounds(control.troubled, control.calls, alpha)
    if here.low <= there.high + rules.errors:
        return ""
    return f"{_percent(here)} of its calls are in trouble, of control's {_percent(there)}"


def _times(rules: Rollback, control: Counts, candidate: Counts, alpha: float) -> str:
    if rules.p95 is None or min(control.timed, candidate.timed) < rules.calls:
        return ""
    if candidate.slow <= candidate.timed * _SLOW_SHARE:
        return ""
    here = rate_bounds(candidate.slow, candidate.timed, alpha)
    there = rate_bounds(control.slow, control.timed, alpha)
    if here.low <= max(there.high, _SLOW_SHARE):
        return ""
    return (
        f"{_percent(here)} of its calls take longer than control's p95 and {rules.p95:.0%} of it, "
        f"of control's {_percent(there)}"
    )


def _costs(rules: Rollback, control: Counts, candidate: Counts, alpha: float) -> str:
    if rules.cost is None or min(control.calls, candidate.calls) < ENOUGH_COSTS:
        return ""
    here = mean_bounds(candidate.calls, candidate.cost, candidate.cost_squares, alpha)
    there = mean_bounds(control.calls, control.cost, control.cost_squares, alpha)
    if here.low <= max(there.high, 0.0) * (1 + rules.cost):
        return ""
    return f"its calls cost {_dollars(here)} each, control's {_dollars(there)}"


def _percent(found: Interval) -> str:
    return f"{100 * found.low:.1f} to {100 * found.high:.1f} %"


def _dollars(found: Interval) -> str:
    return f"${max(found.low, 0.0) / 1e6:.6f} to ${found.high / 1e6:.6f}"


def time_of(record: DecisionRecord) -> float:
    """Seconds that the caller waited: of a stream for its first content, else for the whole answer."""
    return record.latency if record.first_token is None else record.first_token


@dataclass(slots=True)
class Times:
    """Control's latest times in this process, until its p95 is known."""

    seen: deque[float] = field(default_factory=lambda: deque(maxlen=ENOUGH_TIMES))

    def slow_from(self, tolerance: float) -> float | None:
        """Seconds above which a call is slow; None while there are too few."""
        if len(self.seen) < ENOUGH_TIMES:
            return None
        rank = math.ceil((1 - _SLOW_SHARE) * len(self.seen))
        return sorted(self.seen)[rank - 1] * (1 + tolerance)


def as_facts(experiment: Experiment, course: Course, counts: Mapping[str, Counts]) -> dict[str, Any]:
    """How it stands, as plain values; rounds and stages counted from 1."""
    return {
        "status": course.status,
        "round": course.round + 1,
        "stage": course.stage + 1,
        "stages": len(experiment.stages),
        "share": course.share(experiment),
        "candidate": experiment.candidate.name,
        "since": course.since,
        "why": course.why,
        "slow_s": course.slow,
        "counts": {arm: asdict(one) for arm, one in counts.items()},
    }
