"""A canary at work: counts what its arms do, and agrees with other processes how far it has come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.errors import StorageError
from llmgate_plugins.experiments.canary import (
    COUNTED,
    Counts,
    Course,
    Times,
    judged,
    time_of,
)
from llmgate_plugins.experiments.experiment import Experiment
from llmgate_plugins.plugins.pending import carried
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Clock, MaybePending, Services, State

__all__ = ["Rollout"]

log = logging.getLogger("llmgate")

EVERY: Final = 5.0
"""Seconds between two looks at what all processes have counted."""
KEPT: Final = 30 * 86400.0
"""Seconds for which the counts of a stage are kept after its first call, besides its length."""

Steps = Generator[Sequence[MaybePending[Any]], list[Any], None]


class Rollout:
    """One canary in this process.

    Calls are counted here, and every few seconds what came in is added to the counters of all
    processes (`services.state`), by the call that happens to come next. The same look tells how far
    the canary has come, and decides. Two processes may decide at the same moment: they decide the
    same, from the same counts; that it was taken back is a counter that nothing takes back.

    Args:
        experiment: With stages.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.course = Course()
        self.key = f"experiment:{experiment.name}:{experiment.version}"
        self.totals = _nothing(experiment)
        self._fresh = _nothing(experiment)
        self._times = Times()
        self._due = -float("inf")
        self._lock = threading.Lock()

    @property
    def share(self) -> float:
        """The candidate's, at present."""
        return self.course.share(self.experiment)

    def is_due(self, clock: Clock) -> bool:
        """Whether it is time to look at what all processes have counted."""
        return clock.monotonic() >= self._due

    def saw(self, arm: str, course: Course, record: DecisionRecord) -> None:
        """Count a call that ended, unless its stage is over."""
        if record.status not in ("success", "error"):
            return
        with self._lock:
            if (course.stage, course.status) != (self.course.stage, self.course.status):
                return
            self._fresh[arm].add(record, course.slow if course.slow == self.course.slow else None)
            if arm == self.experiment.control and record.status == "success" and course.slow is None:
                self._times.seen.append(time_of(record))

    def refresh(self, services: Services) -> MaybePending[None]:
        """Share what was counted here, learn what was counted elsewhere, and decide."""
        return carried(self._refresh(services))

    def look(self, state: State) -> MaybePending[None]:
        """Learn how far it has come elsewhere, and nothing more."""
        return carried(self._look(state))

    def _look(self, state: State) -> Steps:
        kept, back = yield [state.get(self.key), state.add(f"{self.key}:back", 0)]
        self._take_over(self.course, kept, back)
        keep = self._keep(self.course)
        sums = yield [state.add(key, 0, ttl=keep) for _, _, key in self._counters(self.course)]
        self.totals = self._totals(self.course, sums)

    def _refresh(self, services: Services) -> Steps:
        with self._lock:
            now = services.clock.monotonic()
            if now < self._due:
                return  # somebody else is at it
            self._due = now + EVERY
            course, fresh, self._fresh = self.course, self._fresh, _nothing(self.experiment)
        state, where = services.state, self._counters(course)
        keep = self._keep(course)
        try:
            kept, back, *sums = yield [
                state.get(self.key),
                state.add(f"{self.key}:back", 0),
                *(state.add(key, getattr(fresh[arm], name), ttl=keep) for arm, name, key in where),
            ]
            totals = self._totals(course, sums)
            found = self._learn(course, kept, back, totals, services)
            if found is not None:
                answers: list[MaybePending[Any]] = [state.put(self.key, found.to_bytes())]
                if found.status == "rolled_back":
                    answers.append(state.add(f"{self.key}:back", 1))
                step = (found.stage, found.status)
                if step != (course.stage, course.status):
                    answers.append(state.add(f"{self.key}:{found.stage}:{found.status}", 1))
                *_, first = yield answers
                if step != (course.stage, course.status) and first == 1:
                    services.alerts.report(self._news(found, totals))
        except StorageError as error:  # part of it may have arrived: said again, it would count twice
            log.warning(
                "what canary %s counted in the last %g s could not be shared: %s",
                self.experiment.name, EVERY, error,
            )  # fmt: skip

    def _keep(self, course: Course) -> float:
        return KEPT + self.experiment.stages[course.stage].seconds

    def _counters(self, course: Course) -> list[tuple[str, str, str]]:
        """(arm, what is counted, key) of this stage. Another threshold for slow calls counts anew."""
        here = f"{self.key}:{course.stage}:{course.status}"
        return [
            (arm.name, name, f"{here}:{arm.name}:{name}:{course.slow if name in ('timed', 'slow') else ''}")
            for arm in self.experiment.arms
            for name in COUNTED
        ]

    def _learn(
        self, course: Course, kept: bytes | None, back: int, totals: dict[str, Counts], services: Services
    ) -> Course | None:
        """Take over what others have decided; else decide. What the others have to be told, if anything."""
        if self._take_over(course, kept, back):
            return None
        found = judged(self.experiment, course, totals, services.clock.time())
        if found.slow is None and found.status == "running" and self.experiment.rollback.p95 is not None:
            found = replace(found, slow=self._times.slow_from(self.experiment.rollback.p95))
        self._go_on(found, totals)
        return found if found != course or kept is None else None

    def _take_over(self, course: Course, kept: bytes | None, back: int) -> bool:
        """Whether others have come to another course, which is then ours."""
        known = Course.from_bytes(kept, self.experiment) if kept is not None else None
        if back and (known is None or known.status != "rolled_back"):
            known = replace(known or course, status="rolled_back", why="another process has seen why")
        if known is None or known == course:
            return False
        self._go_on(known, _nothing(self.experiment))
        return True

    def _totals(self, course: Course, sums: Sequence[int]) -> dict[str, Counts]:
        totals = _nothing(self.experiment)
        for (arm, name, _), number in zip(self._counters(course), sums, strict=True):
            setattr(totals[arm], name, number)
        return totals

    def _go_on(self, course: Course, totals: dict[str, Counts]) -> None:
        with self._lock:
            if (course.stage, course.status) != (self.course.stage, self.course.status):
                self._fresh = _nothing(self.experiment)
                self._times = Times()
            self.course, self.totals = course, totals

    def _news(self, course: Course, totals: Mapping[str, Counts]) -> Alert:
        name, candidate = self.experiment.name, self.experiment.candidate.name
        facts: dict[str, Any] = {"experiment": name, "arm": candidate, "stage": course.stage + 1}
        for arm, counts in totals.items():
            facts |= {f"{arm}_calls": counts.calls, f"{arm}_troubled": counts.troubled}
        match course.status:
            case "rolled_back":
                return Alert(
                    kind="canary_rolled_back",
                    subject=name,
                    summary=f"Canary {name} was taken back in stage {course.stage + 1}: of {candidate}, "
                    f"{course.why}.",
                    severity="critical",
                    facts=facts,
                )
            case "promoted":
                said = f"Canary {name} is through all stages: {candidate} gets all calls."
            case "done":
                said = f"Canary {name} is through all stages: {candidate} keeps {self.share:.0%}."
            case _:
                said = (
                    f"Canary {name} goes on to stage {course.stage + 1}: {candidate} gets {self.share:.0%}."
                )
        subject = f"{name}/{course.status if course.status != 'running' else course.stage + 1}"
        return Alert(kind="canary_advanced", subject=subject, summary=said, severity="info", facts=facts)


def _nothing(experiment: Experiment) -> dict[str, Counts]:
    return {arm.name: Counts() for arm in experiment.arms}
