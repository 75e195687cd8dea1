"""What people and alerts get to see of health."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmgate_plugins.plugins.health.breaker import Breaker, State
from llmgate_plugins.plugins.health.scopes import Ailment
from llmgate_plugins.types import Scope

__all__ = ["HealthChange", "HealthRow", "change_of", "row_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """What is known of one kind of failure at one deployment, credential or provider.

    Attributes:
        scope, name: Whose: a deployment's id, a credential's short id, or a provider.
        ailment: Which kind: "throttle", "overload", "transport", "slow", "quality",
            "money", "key", "certificate" or "model".
        state: "closed", "throttled", "ejected", "half_open", "probing" or "slow_start".
        reason: The code that stands in decision records.
        until: When an ejection or a throttling ends, monotonic seconds; else None.
        ejections: How many in a row, less those that calm times have made up for.
        failures: In a row since it was last well.
    """

    scope: Scope
    name: str
    ailment: Ailment
    state: State
    reason: str
    until: float | None
    ejections: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChange:
    """A breaker went from one state to another.

    Attributes:
        scope, name: Whose: a deployment's id, a credential's, or a provider.
        ailment: Of which kind of failure.
        reason: The code that stands in decision records.
        until: When the new state ends at the earliest, monotonic seconds; None if that is open.
    """

    scope: Scope
    name: str
    ailment: Ailment
    before: State
    after: State
    reason: str
    until: float | None


def row_of(breaker: Breaker) -> HealthRow:
    """What to show of a breaker."""
    ends = breaker.state in (State.EJECTED, State.THROTTLED) and breaker.until < math.inf
    return HealthRow(
        scope=Scope(breaker.key.scope),
        name=breaker.key.name,
        ailment=breaker.ailment,
        state=breaker.state,
        reason=breaker.reason,
        until=breaker.until if ends else None,
        ejections=breaker.ejections,
        failures=breaker.consecutive,
    )


def change_of(breaker: Breaker, before: State) -> HealthChange:
    """What to tell after a breaker has left the state `before`."""
    return HealthChange(
        scope=Scope(breaker.key.scope),
        name=breaker.key.name,
        ailment=breaker.ailment,
        before=before,
        after=breaker.state,
        reason=breaker.reason,
        until=breaker.until if breaker.state in (State.EJECTED, State.THROTTLED) else None,
    )
