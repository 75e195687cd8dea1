"""At a provider's door: whether what comes in may have been sent there (I6, I7, I8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.context import Call
from llmgate_plugins.plugins.health import Ailment, Health, HealthRow, State
from llmgate_plugins.plugins.narrowing import Capabilities
from llmgate_plugins.records import Selection
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.testing.simulation.plans import Plan
from llmgate_plugins.types import Attempt, Deployment, Scope

__all__ = ["Door"]

HARD: Final = frozenset({Ailment.MONEY, Ailment.KEY, Ailment.MODEL})
"""What no panic overrides: the next request would fail the same way."""
BARRED: Final = frozenset({State.EJECTED, State.PROBING})
LEAST_LEFT: Final = 0.5
"""Below this share of a group that is well, soft ejections do not count: `Health`'s default."""
PROBE_TIMEOUT: Final = 60.0
"""Seconds after which a probe may be taken for lost: `Health`'s default."""


@dataclass(slots=True)
class _Probe:
    attempt: Attempt
    since: float


class Door:
    """Checks each request against the report of the gateway's `Health`, if it has one.

    The rules stand here once more, in other words than in the plugin: nothing goes to a
    deployment that is ejected, except one probe for each breaker, and except in panic,
    when less than half of a group is well and the ejection is a soft one.

    Args:
        journal: Where violations are noted.
        monotonic: The run's clock.
        plugins, deployments: The gateway's.
    """

    def __init__(
        self,
        journal: Journal,
        monotonic: Callable[[], float],
        plugins: Iterable[object],
        deployments: Mapping[str, Deployment],
    ) -> None:
        self._journal = journal
        self._deployments = deployments
        self._monotonic = monotonic
        plugins = tuple(plugins)
        self.health = next((one for one in plugins if isinstance(one, Health)), None)
        self._checks_tools = any(isinstance(one, Capabilities) for one in plugins)
        self._selections: dict[tuple[str, str], tuple[list[list[Deployment]], bool]] = {}
        self._probes: dict[tuple[Scope, str, Ailment], _Probe] = {}

    def selected(self, call: Call, selection: Selection) -> None:
        """Deployments were chosen: note whether so few are well that ejections do not count."""
        if self.health is None:
            return
        groups = [
            [self._deployments[name] for name in selection.considered if name not in others]
            for others in (frozenset(), _dropped_by_others(selection))
        ]
        rows = self.health.report(self._monotonic())
        panic = any(_panics(group, rows) for group in groups)
        self._selections[call.id, selection.alias] = (groups, panic)

    def enter(self, attempt: Attempt, plan: Plan) -> None:
        """A request comes in."""
        journal, deployment, now = self._journal, attempt.deployment, self._monotonic()
        if attempt.deadline is not None and now > attempt.deadline:
            journal.violated("I8", f"call {plan.number} was sent to {deployment.id} past its deadline")
        if plan.region not in (None, deployment.region):
            journal.violated(
                "I6", f"call {plan.number} is bound to {plan.region}, and went to {deployment.id}"
            )
        if self._checks_tools and plan.tools and "tools" not in deployment.capabilities:
            journal.violated("I6", f"call {plan.number} has tools, and went to {deployment.id}")
        if self.health is None:
            return
        for row in self.health.report(now):
            if row.state in BARRED and _is_about(row, deployment):
                self._barred(row, attempt, plan, now)

    def _barred(self, row: HealthRow, attempt: Attempt, plan: Plan, now: float) -> None:
        """A request to somebody ejected: the one probe, or panic, or wrong."""
        key = (row.scope, row.name, row.ailment)
        panic = row.ailment not in HARD and self._panic(attempt, now)
        told = f"call {plan.number} went to {attempt.deployment.id}, where {row.name} ({row.ailment}) is"
        if row.state is State.EJECTED:
            if not panic:
                self._journal.violated("I6", f"{told} ejected")
            return
        probe = self._probes.get(key)
        if probe is None or now - probe.since >= PROBE_TIMEOUT:
            self._probes[key] = _Probe(attempt, now)
        elif not panic:
            self._journal.violated("I7", f"{told} being probed already")

    def _panic(self, attempt: Attempt, now: float) -> bool:
        """Whether it was so when the call made its choice, or is so now."""
        groups, then = self._selections.get((attempt.call_id, attempt.alias), ([], False))
        if then or self.health is None:
            return then
        rows = self.health.report(now)
        return any(_panics(group, rows) for group in groups)

    def leave(self, attempt: Attempt) -> None:
        """An attempt has ended, and so what it probed has been probed."""
        for key in [key for key, probe in self._probes.items() if probe.attempt is attempt]:
            del self._probes[key]


def _is_about(row: HealthRow, deployment: Deployment) -> bool:
    if row.scope is Scope.DEPLOYMENT:
        return row.name == deployment.id
    return row.name == (deployment.credential if row.scope is Scope.CREDENTIAL else deployment.provider)


def _dropped_by_others(selection: Selection) -> frozenset[str]:
    return frozenset(
        name for name, (_, plugin) in selection.dropped.items() if not plugin.startswith("Health")
    )


def _panics(group: Iterable[Deployment], rows: Sequence[HealthRow]) -> bool:
    """Whether less than half of those that are not known to refuse are well, or all asked to wait."""
    well = rest = throttled = 0
    for deployment in group:
        mine = [row for row in rows if _is_about(row, deployment)]
        softly = {row.state for row in mine if row.ailment not in HARD}
        hard = {row.state for row in mine if row.ailment in HARD}
        if hard & BARRED:
            continue
        if State.THROTTLED in softly:
            throttled += 1
        elif softly & BARRED or (State.HALF_OPEN in softly and State.HALF_OPEN not in hard):
            rest += 1
        elif State.HALF_OPEN not in hard:
            rest += 1
            well += 1
    return well < LEAST_LEFT * rest or (rest == 0 and throttled > 0)
