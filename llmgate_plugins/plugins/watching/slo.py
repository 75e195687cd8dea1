"""Alerts when goals for success and latency are missed at a rate that will not do."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from llmgate_plugins.alerts import Alert
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.plugins.watching.burning import Burn, Counts
from llmgate_plugins.plugins.watching.subjects import SUBJECTS, Subject, named, subject_of
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Outcome, Scope

__all__ = ["Goal", "GoalSubject", "SloAlerts"]

GoalSubject = Subject | Literal["deployment"]
Metric = Literal["success", "p50", "p95", "p99"]

SHARES: Final[Mapping[Metric, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CALLERS: Final = (Scope.REQUEST, Scope.CALLER)
"""Failures by which a goal is neither kept nor missed: whoever asked is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What should be so, of calls or of a deployment's attempts.

    Attributes:
        by: Of what: "all", "policy", "alias", "tenant", "team", "project", "user", "feature",
            "cohort", "environment", or "deployment" (its attempts, not whole calls).
        name: Of this one alone; None for each of them.
        success: The share that succeeds: 0.99.
        p50, p95, p99: Seconds within which 50, 95, 99 % of the successful ones end.

    Raises:
        ValueError: A number is out of its range, or nothing is asked for.
    """

    by: GoalSubject = "all"
    name: str | None = None
    success: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    def __post_init__(self) -> None:
        if self.by not in (*SUBJECTS, "deployment"):
            names = ", ".join((*SUBJECTS, "deployment"))
            raise ValueError(f"by must be one of {names}, not {self.by!r}")
        if self.success is not None and not 0 < positive("success", self.success) < 1:
            raise ValueError(f"success must be below 1, not {self.success!r}: nothing is always well")
        for name in SHARES:
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        if not any(True for _ in self.parts()):
            raise ValueError("a goal needs success, p50, p95 or p99")

    def parts(self) -> Iterator[tuple[Metric, float, float | None]]:
        """(metric, share that must be good, seconds) of each thing that is asked for."""
        if self.success is not None:
            yield "success", self.success, None
        for metric, share in SHARES.items():
            seconds: float | None = getattr(self, metric)
            if seconds is not None:
                yield metric, share, seconds


class _Watched:
    """One part of a goal, at one thing it is about."""

    __slots__ = ("budget", "by", "counts", "going", "look_at", "metric", "name", "seconds")

    def __init__(
        self, by: GoalSubject, name: str, metric: Metric, share: float, seconds: float | None, now: float
    ) -> None:
        self.by, self.name, self.metric, self.seconds = by, name, metric, seconds
        self.budget = 1.0 - share
        self.counts = Counts(now)
        self.going = False
        self.look_at = now


class SloAlerts:
    """Watches goals by burn rates over several windows (alert "slo_burn").

    The error budget is what a goal allows to fail, 1 % for `success=0.99`, 5 % for a p95. It
    burns too fast at 14.4 times that in the last hour and the last five minutes, or 6 times
    in six hours and thirty minutes (critical), or more than once in three days and six
    hours (warning): Google's multi-window, multi-burn-rate alerts. Over when none of them holds.

    Calls that were denied, cancelled or abandoned, and failures of the caller's own making,
    count neither way. Each process watches its own calls.

    Args:
        goals: What should be so.
        least: Alert only where so many were bad in the long window.
        most: So many goals at so many things are watched; of more, the oldest are forgotten.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(self, goals: Iterable[Goal], *, least: int = 5, most: int = 500) -> None:
        goals = tuple(goals)
        self.goals = goals
        self._least = whole("least", least)
        self._most = whole("most", most)
        self._of_calls = tuple((place, one) for place, one in enumerate(goals) if one.by != "deployment")
        self._of_attempts = tuple((place, one) for place, one in enumerate(goals) if one.by == "deployment")
        self._watched: dict[tuple[int, str], tuple[_Watched, ...]] = {}
        self._going: list[_Watched] = []
        self._look_at = -float("inf")
        self._lock = threading.Lock()

    @property
    def alerts(self) -> tuple[tuple[str, str], ...]:
        """(kind, when) of each goal."""
        return tuple(
            ("slo_burn", f"{_whose(goal)}: {_wish(share, seconds)}.")
            for goal in self.goals
            for _, share, seconds in goal.parts()
        )

    @hookimpl
    def end_call(self, record: DecisionRecord, services: Services) -> None:
        """Count the call."""
        if not self._of_calls or record.shadow_of is not None:  # nobody waits for a shadow
            return
        status = record.status
        if status == "error":
            if record.attempts:
                failure = record.attempts[-1][1].failure
                if failure is not None and failure.scope in CALLERS:
                    return
            good = False
        elif status in ("success", "answered"):
            good = True
        else:
            return
        for place, goal in self._of_calls:
            name = subject_of(goal.by, record)  # type: ignore[arg-type]  # those of deployments are apart
            if name is not None and (goal.name is None or goal.name == name):
                self._saw(place, name, good, record.latency, services)

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Count the attempt."""
        if not self._of_attempts:
            return
        good = outcome.status == "success"
        if not good and (
            outcome.status != "error" or (outcome.failure is not None and outcome.failure.scope in CALLERS)
        ):
            return
        name = attempt.deployment.id
        for place, goal in self._of_attempts:
            if goal.name is None or goal.name == name:
                self._saw(place, name, good, outcome.latency, services)

    def _saw(self, place: int, name: str, good: bool, latency: float, services: Services) -> None:
        now = services.clock.monotonic()
        with self._lock:
            found = self._watched.get((place, name))
            if found is None:
                found = self._watch(place, name, now)
            for one in found:
                if one.seconds is None:
                    one.counts.add(now, not good)
                elif good:
                    one.counts.add(now, latency > one.seconds)
            if now < found[0].look_at and (now < self._look_at or not self._going):
                return
            found[0].look_at = self._look_at = now + 1.0
            alerts = [self._look(one, now) for one in (*self._going, *found)]
        for alert in alerts:
            if alert is not None:
                services.alerts.report(alert)

    def _watch(self, place: int, name: str, now: float) -> tuple[_Watched, ...]:
        if len(self._watched) >= self._most:
            first = list(islice(self._watched, 64))
            calm = (key for key in first if not any(one.going for one in self._watched[key]))
            for one in self._watched.pop(next(calm, first[0])):
                if one.going:
                    self._going.remove(one)
        goal = self.goals[place]
        made = tuple(_Watched(goal.by, name, *part, now) for part in goal.parts())
        self._watched[place, name] = made
        return made

    def _look(self, one: _Watched, now: float) -> Alert | None:
        """Whether it burns too fast, or does no longer."""
        burn = one.counts.burn(now, one.budget, self._least)
        if burn is not None:
            if not one.going:
                one.going = True
                self._going.append(one)
            return _burning(one, burn)
        if not one.going:
            return None
        one.going = False
        self._going.remove(one)
        return _well(one)


def _burning(one: _Watched, burn: Burn) -> Alert:
    share, rule = burn.bad / burn.total, burn.rule
    what = "failed" if one.seconds is None else "took longer"
    return Alert(
        kind="slo_burn",
        subject=_key(one),
        summary=f"{named(one.by, one.name)} misses its goal that {_goal(one)}: {100 * share:.1f} % {what} in "
        f"the last {_span(rule.long)}, {share / one.budget:.2g} times what may.",
        severity=rule.severity,
        facts={
            "by": one.by,
            "name": one.name,
            "metric": one.metric,
            "burn_rate": round(share / one.budget, 2),
            "bad": burn.bad,
            "total": burn.total,
            "long_window_s": rule.long,
            "short_window_s": rule.short,
        },
    )


def _well(one: _Watched) -> Alert:
    return Alert(
        kind="slo_burn",
        subject=_key(one),
        summary=f"{named(one.by, one.name)} keeps its goal again that {_goal(one)}.",
        resolved=True,
    )


def _key(one: _Watched) -> str:
    return f"{one.by}:{one.name}/{one.metric}" if one.by != "all" else f"all/{one.metric}"


def _span(seconds: float) -> str:
    hours = seconds / 3600
    return "hour" if hours == 1 else f"{hours:g} hours" if hours < 24 else f"{hours / 24:g} days"


def _goal(one: _Watched) -> str:
    return _wish(1.0 - one.budget, one.seconds)


def _wish(share: float, seconds: float | None) -> str:
    shown = f"{round(100 * share, 6):g} %"
    return f"{shown} succeed" if seconds is None else f"{shown} end within {seconds:g} s"


def _whose(goal: Goal) -> str:
    if goal.by == "all":
        return "All calls"
    return f"Each {goal.by}" if goal.name is None else named(goal.by, goal.name)
