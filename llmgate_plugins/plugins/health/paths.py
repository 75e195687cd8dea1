"""Kinds of call for which a deployment has no path: whatever else it serves, it goes on serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.decisions import Drop
from llmgate_plugins.plugins.health.breaker import State
from llmgate_plugins.plugins.health.numbers import Numbers
from llmgate_plugins.plugins.health.reporting import HealthRow
from llmgate_plugins.plugins.health.scopes import Ailment
from llmgate_plugins.types import Deployment, Failure, Scope

__all__ = ["Paths", "alert_of_path", "leads_nowhere"]

CODE: Final = "wrong_path"
REASON: Final = "no_path"
MOST: Final = 10_000
"""Deployments and kinds of call of which it is remembered; some hosts make new ones for every call."""


def leads_nowhere(failure: Failure | None) -> bool:
    """Whether the address was wrong for this kind of call, which says nothing of others."""
    return failure is not None and failure.code == CODE


class Paths:
    """Not thread-safe: whoever owns it locks. Whether `known` is empty may be read without.

    Attributes:
        known: (deployment, operation) -> (until when it is left out, monotonic; how often in a row).
    """

    __slots__ = ("_numbers", "known")

    def __init__(self, numbers: Numbers) -> None:
        self.known: dict[tuple[str, str], tuple[float, int]] = {}
        self._numbers = numbers

    def missing(self, name: str, operation: str, now: float) -> None:
        """There is none."""
        key, numbers = (name, operation), self._numbers
        until, times = self.known.get(key, (now, 0))
        if until > now:
            return  # told by a call that was on its way
        if times == 0 and len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        pause = min(numbers.hard_ejection * 2.0 ** min(times, 8), numbers.most_ejection)
        self.known[key] = now + pause, times + 1

    def found(self, name: str, operation: str) -> bool:
        """There is one. Whether that is news."""
        return self.known.pop((name, operation), None) is not None

    def drop(self, deployments: Sequence[Deployment], operation: str, now: float, unix: float) -> Drop | None:
        """Those that have none, as long as others may: what they say themselves is said best by them.

        Args:
            unix: What to add to monotonic time to get Unix time.
        """
        without = {
            name: until
            for (name, kind), (until, _) in self.known.items()
            if kind == operation and until > now
        }
        if not without or all(one.id in without for one in deployments):
            return None
        until = {name: moment + unix for name, moment in without.items()}
        return Drop(dict.fromkeys(without, REASON), until, passing=True)

    def rows(self, now: float) -> list[HealthRow]:
        """What there is to show."""
        return [
            HealthRow(
                scope=Scope.DEPLOYMENT,
                name=name,
                ailment=Ailment.MODEL,
                state=State.EJECTED,
                reason=REASON,
                until=until,
                ejections=times,
                failures=times,
            )
            for (name, _), (until, times) in self.known.items()
            if until > now
        ]


def alert_of_path(name: str, operation: str, *, found: bool) -> Alert:
    """That a deployment has no path for a kind of call, or has one again."""
    summary = (
        f"Deployment {name} serves {operation} calls again."
        if found
        else f"Deployment {name} is left out for {operation} calls: its address knows no path for them."
    )
    return Alert(
        kind="ejected",
        subject=f"{name}/{operation}",
        summary=summary,
        resolved=found,
        facts={"deployment": name, "reason": REASON, "operation": operation},
    )
