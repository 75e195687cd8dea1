"""The plugin: assigns calls to arms, carries out what an arm changes, and follows canaries."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.experiments.canary import Counts, Course
from llmgate_plugins.experiments.conditions import Condition, may_both_match
from llmgate_plugins.experiments.experiment import Arm, Experiment
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.asked import ASKED
from llmgate_plugins.plugins.experiments.rollout import Rollout
from llmgate_plugins.plugins.pending import carried
from llmgate_plugins.plugins.policies import POLICY
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import EMPTY, Request

__all__ = ["Experiments", "conflicts"]


@dataclass(frozen=True, slots=True)
class _Running:
    """An experiment at work. `rollout` is a canary's."""

    experiment: Experiment
    condition: Condition | None
    rollout: Rollout | None


_CANARIES: Final[StashKey[list[tuple[Rollout, str, Course]]]] = StashKey("experiments.canaries")
"""Canaries that this call is part of: (rollout, arm, its course when the call was assigned)."""


class Experiments:
    """Puts questions to live traffic: weighted arms, sticky by unit, and canaries that grow or go back.

    A call may be part of several experiments that touch different things. What an arm changes is
    changed before any other plugin sees the call, so that all of them judge what is really asked: an
    arm allows nothing that is not allowed without it. Under another policy (`Arm.policy`) the
    constraints of the call's own policy hold as well.

    The arm stands in `record.experiments`, a hash of the unit in `record.units`. Shadow calls are
    not assigned.

    Args:
        experiments: In this order.
        aliases: Another name of a model -> the alias it leads to, for conditions about aliases.

    Raises:
        ValueError: Two have the same name, or two would touch the same thing of the same call.
    """

    def __init__(self, experiments: Iterable[Experiment], *, aliases: Mapping[str, str] = EMPTY) -> None:
        self.experiments: Final = tuple(experiments)
        names = [one.name for one in self.experiments]
        if len(set(names)) < len(names):
            raise ValueError(f"two experiments have the name {max(names, key=names.count)!r}")
        for one, other, what in conflicts(self.experiments):
            raise ValueError(f"experiments {one.name!r} and {other.name!r} may both change {what} of a call")
        self._running = tuple(
            _Running(one, one.condition(aliases), Rollout(one) if one.stages else None)
            for one in self.experiments
        )
        self.rollouts: Final = tuple(one.rollout for one in self._running if one.rollout is not None)

    @property
    def alerts(self) -> tuple[tuple[str, str], ...]:
        """(kind, when) of what is told of canaries."""
        told: list[tuple[str, str]] = []
        for one in self.rollouts:
            told.append(("canary_rolled_back", f"Canary {one.experiment.name} is taken back."))
            told.append(("canary_advanced", f"Canary {one.experiment.name} goes on, or is through."))
        return tuple(told)

    @hookimpl(tryfirst=True)
    def admit_request(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> MaybePending[Request | None]:
        """Assign the call to its arms."""
        if call.record.shadow_of is not None:
            return None
        clock = services.clock
        if any(one.is_due(clock) for one in self.rollouts):
            return carried(self._refreshed(request, context, call, services))
        return self._assigned(request, context, call)

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call) -> None:
        """Count the call for its canaries."""
        for rollout, arm, course in call.stashed(_CANARIES) or ():
            rollout.saw(arm, course, record)

    def standing(self) -> tuple[tuple[Experiment, Course, dict[str, Counts]], ...]:
        """How each canary stands: (experiment, course, arm -> counts of this stage)."""
        return tuple((one.experiment, one.course, one.totals) for one in self.rollouts)

    def _refreshed(
        self, request: Request, context: Context, call: Call, services: Services
    ) -> Generator[Sequence[MaybePending[Any]], list[Any], Request | None]:
        yield [one.refresh(services) for one in self.rollouts if one.is_due(services.clock)]
        return self._assigned(request, context, call)

    def _assigned(self, request: Request, context: Context, call: Call) -> Request | None:
        taken: set[str] = set()
        changed = request
        for one in self._running:
            experiment = one.experiment
            if not experiment.asks_of(request):
                continue
            if one.condition is not None and not one.condition(request, context):
                continue
            unit = experiment.unit(context, call)
            # Conditions of which nobody can tell whether both hold are told apart here: the first has it.
            if unit is None or not taken.isdisjoint(experiment.touches):
                continue
            taken |= experiment.touches
            rollout = one.rollout
            arm = experiment.arm_of(unit, None if rollout is None else rollout.share)
            if rollout is not None:
                call.stash[_CANARIES] = [
                    *(call.stashed(_CANARIES) or ()),
                    (rollout, arm.name, rollout.course),
                ]
            call.assign(experiment.name, arm.name, unit)
            changed = _treated(changed, arm, call)
        if changed is request:
            return None
        call.stash[ASKED] = request
        return changed


def conflicts(experiments: Sequence[Experiment]) -> Iterable[tuple[Experiment, Experiment, str]]:
    """Pairs that change the same thing, and may both be for the same call: (one, other, what)."""
    for one, other in combinations(experiments, 2):
        both = one.touches & other.touches
        if both and may_both_match(one.when, other.when):
            yield one, other, min(both)


def _treated(request: Request, arm: Arm, call: Call) -> Request:
    """The request as this arm has it."""
    if arm.policy is not None:
        call.stash[POLICY] = arm.policy
    if arm.model is not None:
        request = request.replace(model=arm.model)
    if arm.params:
        request = request.replace(params={**request.params, **arm.params})
    return arm.prompt.applied(request) if arm.prompt is not None else request
