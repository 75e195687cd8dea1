"""A canary at work: counts what its arms do, and agrees with other processes how far it has come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from llmgate_plugins.alerts import NO_ALERTS, Alert, Alerts
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

T = TypeVar("T")

Steps = Generator[Sequence[MaybePending[Any]], list[Any], T]


class Rollout:
    """One canary in this process.

    Calls are counted here, and every few seconds what came in is added to the counters of all
    processes (`services.state`), by the call that happens to come next. The same look tells how far
    the canary has come, and decides. Two processes may decide at the same moment: they decide the
    same, from the same counts; that it was taken back is a counter that nothing takes back. `reset`
    leaves all that as it is and begins another round, with keys of its own: what a process still
    counts or decides of the last one does nothing to it.

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
            if course.part != self.course.part:
                return
            self._fresh[arm].add(record, course.slow if course.slow == self.course.slow else None)
            if arm == self.experiment.control and record.status == "success" and course.slow is None:
                self._times.seen.append(time_of(record))

    def refresh(self, services: Services) -> MaybePending[None]:
        """Share what was counted here, learn what was counted elsewhere, and decide."""
        return carried(self._refresh(services))

    def look(self, state: State) -> MaybePending[None]:
        """Learn how far it has come elsewhere, and nothing more."""
        return carried(self._look(state, NO_ALERTS))

    def reset(self, state: State, alerts: Alerts = NO_ALERTS) -> MaybePending[Course]:
        """Begin anew after it was taken back; how it had ended.

        This process does so at once, others when they look next.

        Raises:
            ValueError: It was not taken back.
            StorageError: The state that processes share cannot be asked.
        """
        return carried(self._reset(state, alerts))

    def _reset(self, state: State, alerts: Alerts) -> Steps[Course]:
        yield from self._look(state, alerts)
        name, ended = self.experiment.name, self.course
        if getattr(state, "away", False):
            raise StorageError(f"canary {name!r} is not reset: the state that tells how it stands is away")
        if ended.status != "rolled_back":
            raise ValueError(f"canary {name!r} was not taken back: {self._standing()}")
        yield [state.put(self._rounds, str(ended.round + 1).encode())]
        yield [state.delete(self._key(ended))]  # of no use any more; and unlike the other, it fails aloud
        self._begin(ended.round + 1, alerts)
        return ended

    def _standing(self) -> str:
        course = self.course
        if course.status != "running":
            return "it is through all stages; to end it, write what it tried into the configuration"
        if course.since is None and course.round:
            return "it was reset already, and no call of it has been counted since"
        if course.since is None:
            return "as it is defined now, no call of it has been counted yet"
        return f"it is in stage {course.stage + 1} of {len(self.experiment.stages)}"

    def _begin(self, number: int, alerts: Alerts) -> None:
        """Begin another round, which may have come further elsewhere."""
        before = self.course
        if before.status == "rolled_back":
            alerts.report(
                Alert(
                    kind="canary_rolled_back",
                    subject=self._subject(before),
                    summary=f"Canary {self.experiment.name} was reset and begins anew.",
                    resolved=True,
                )
            )
        self._go_on(Course(round=number), _nothing(self.experiment))
        self._due = -float("inf")

    def _look(self, state: State, alerts: Alerts) -> Steps[None]:
        (told,) = yield [state.get(self._rounds)]
        if (number := _number(told)) > self.course.round:
            self._begin(number, alerts)
        kept, back = yield self._ask(self.course, state)
        self._take_over(self.course, kept, back)
        keep = self._keep(self.course)
        sums = yield [state.add(key, 0, ttl=keep) for _, _, key in self._counters(self.course)]
        self.totals = self._totals(self.course, sums)

    def _ask(self, course: Course, state: State) -> list[MaybePending[Any]]:
        """How far it has come, and whether it was taken back."""
        key = self._key(course)
        return [state.get(key), state.add(f"{key}:back", 0)]

    def _refresh(self, services: Services) -> Steps[None]:
        with self._lock:
            now = services.clock.monotonic()
            if now < self._due:
                return  # somebody else is at it
            self._due = now + EVERY
            course, fresh, self._fresh = self.course, self._fresh, _nothing(self.experiment)
        state, where, key = services.state, self._counters(course), self._key(course)
        keep = self._keep(course)
        try:
            told, kept, back, *sums = yield [
                state.get(self._rounds),
                *self._ask(course, state),
                *(state.add(at, getattr(fresh[arm], name), ttl=keep) for arm, name, at in where),
            ]
            if (number := _number(told)) != course.round:
                if number > course.round:
                    self._begin(number, services.alerts)
                    yield from self._refresh(services)
                    return
                # The state was emptied, or is away.
                yield [state.put(self._rounds, str(course.round).encode())]
            totals = self._totals(course, sums)
            found = self._learn(course, kept, back, totals, services)
            if found is not None:
                answers: list[MaybePending[Any]] = [state.put(key, found.to_bytes())]
                if found.status == "rolled_back":
                    answers.append(state.add(f"{key}:back", 1))
                if found.part != course.part:
                    answers.append(state.add(f"{key}:{found.stage}:{found.status}", 1))
                *_, first = yield answers
                if found.part != course.part and first == 1:
                    services.alerts.report(self._news(found, totals))
        except StorageError as error:  # part of it may have arrived: said again, it would count twice
            log.warning(
                "what canary %s counted in the last %g s could not be shared: %s",
                self.experiment.name, EVERY, error,
            )  # fmt: skip

    def _key(self, course: Course) -> str:
        return f"{self.key}:round:{course.round}" if course.round else self.key

    @property
    def _rounds(self) -> str:
        return f"{self.key}:rounds"

    def _keep(self, course: Course) -> float:
        return KEPT + self.experiment.stages[course.stage].seconds

    def _counters(self, course: Course) -> list[tuple[str, str, str]]:
        """(arm, what is counted, key) of this stage. Another threshold for slow calls counts anew."""
        here = f"{self._key(course)}:{course.stage}:{course.status}"
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
            if course.round < self.course.round:
                return  # what was asked before it was reset
            if course.part != self.course.part:
                self._fresh = _nothing(self.experiment)
                self._times = Times()
            self.course, self.totals = course, totals

    def _news(self, course: Course, totals: Mapping[str, Counts]) -> Alert:
        name, candidate = self.experiment.name, self.experiment.candidate.name
        step, share = str(course.stage + 1), f"{100 * course.share(self.experiment):g}%"
        facts: dict[str, Any] = {"experiment": name, "arm": candidate, "stage": course.stage + 1}
        for arm, counts in totals.items():
            facts |= {f"{arm}_calls": counts.calls, f"{arm}_troubled": counts.troubled}
        match course.status:
            case "rolled_back":
                return Alert(
                    kind="canary_rolled_back",
                    subject=self._subject(course),
                    summary=f"Canary {name} was taken back in stage {course.stage + 1}: of {candidate}, "
                    f"{course.why}.",
                    severity="critical",
                    facts=facts,
                )
            case "promoted":
                step, said = "promoted", f"Canary {name} is through all stages: {candidate} gets all calls."
            case "done":
                step, said = "done", f"Canary {name} is through all stages: {candidate} keeps {share}."
            case _:
                said = f"Canary {name} goes on to stage {step}: {candidate} gets {share}."
        subject = f"{self._subject(course)}/{step}"
        return Alert(kind="canary_advanced", subject=subject, summary=said, severity="info", facts=facts)

    def _subject(self, course: Course) -> str:
        """Another for each definition and round: of each it is told, however soon after the last."""
        again = f"#{course.round + 1}" if course.round else ""
        return f"{self.experiment.name}@{self.experiment.version}{again}"


def _number(told: bytes | None) -> int:
    return int(told) if told is not None and told.isdigit() else 0


def _nothing(experiment: Experiment) -> dict[str, Counts]:
    return {arm.name: Counts() for arm in experiment.arms}
