"""Traffic through canaries: calls of many users, on a virtual clock, in one process or in many."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from llmgate_plugins import Alert, Context
from llmgate_plugins.experiments import Arm, Experiment, Stage
from llmgate_plugins.experiments.canary import Course
from llmgate_plugins.plugins import Experiments
from llmgate_plugins.services import Services, State
from llmgate_plugins.state import MemoryState
from llmgate_plugins.testing import VirtualClock
from llmgate_plugins.types import Outcome
from support.values import a_call, a_deployment, a_request, an_attempt, some_services

__all__ = ["ARMS", "GOOD", "HOUR", "STAGES", "SUBJECT", "Heard", "How", "Traffic", "bad", "canary"]

SERVES = a_deployment()
ARMS = (Arm(name="control"), Arm(name="candidate", model="new"))
HOUR = 3600.0
STAGES = (
    Stage(share=0.05, seconds=HOUR, calls=50),
    Stage(share=0.25, seconds=HOUR, calls=100),
    Stage(share=0.5, seconds=HOUR, calls=100),
)


def canary(stages: tuple[Stage, ...] = STAGES, **fields: Any) -> Experiment:
    return Experiment(name="canary", arms=ARMS, by="user", stages=stages, **fields)


SUBJECT = f"canary@{canary().version}"


class How(NamedTuple):
    """How calls of an arm fare."""

    fails: float = 0.02
    seconds: float = 1.0
    nano_usd: int = 1_000_000


GOOD = How()


class Heard:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[Alert] = []

    def report(self, alert: Alert) -> None:
        self.told.append(alert)


class Traffic:
    """Calls of many users, one every second of a virtual clock, through processes that share their state.

    Each process has a plugin of its own; calls go to them in turn.
    """

    def __init__(
        self, experiment: Experiment, processes: int = 1, seed: int = 0, state: State | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.state = state or MemoryState(clock=self.clock)
        self.heard = Heard()
        self.experiment = experiment
        self.random = random.Random(seed)
        self.plugins = [Experiments([experiment]) for _ in range(processes)]
        self.count = 0

    @property
    def services(self) -> Services:
        return replace(some_services(), clock=self.clock, state=self.state, alerts=self.heard)

    @property
    def courses(self) -> list[Course]:
        return [course for plugin in self.plugins for _, course, _ in plugin.standing()]

    def run(self, number: int, how: Callable[[str], How]) -> Iterator[str]:
        """So many calls; the arm of each."""
        services = self.services
        for _ in range(number):
            self.count += 1
            self.clock.advance(1.0)
            plugin = self.plugins[self.count % len(self.plugins)]
            context = Context(user=f"u{self.random.randrange(5_000)}")
            request = a_request()
            call = a_call(request, context)
            plugin.admit_request(request, context, call, services)
            arm = call.record.experiments["canary"]
            fares = how(arm)
            failed = self.random.random() < fares.fails
            record = call.record
            record.status = "error" if failed else "success"
            record.latency = fares.seconds * self.random.lognormvariate(0, 0.5)
            cost = round(fares.nano_usd * self.random.lognormvariate(0, 0.7))
            record.attempts.append((an_attempt(SERVES), Outcome(status=record.status, cost=cost)))
            plugin.end_call(record, call)
            yield arm

    def until_over(self, how: Callable[[str], How], most: int = 40_000) -> list[str]:
        """Arms of the calls until the canary is through, or taken back."""
        arms = []
        for arm in self.run(most, how):
            arms.append(arm)
            if all(course.status != "running" for course in self.courses):
                break
        return arms


def bad(**fields: Any) -> Callable[[str], How]:
    worse = GOOD._replace(**fields)
    return lambda arm: worse if arm == "candidate" else GOOD
