"""Alerts for failures that heal by nobody's doing but a person's, and that eject nothing."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.classification import reaction_to
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Outcome

__all__ = ["FailureAlarms"]

MOST: Final = 1_000
"""Deployments of which an alarm is remembered; some hosts make new ones for every call."""


class FailureAlarms:
    """Reports what the table of reactions calls an alarm (alert "failure_alarm", critical).

    A proxy of our own that refuses, an address that redirects: nothing is wrong with the
    deployment, so `Health` does not eject it, and it stays so until somebody does something.
    Alarms that eject (a dead key, a retired model) are told by `Health`. It is over with the
    next answer from there.
    """

    def __init__(self) -> None:
        self._going: set[str] = set()

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Look at failures; at answers only where something goes on."""
        failure = outcome.failure
        name = attempt.deployment.id
        if failure is None:
            if self._going and outcome.status == "success" and name in self._going:
                self._going.discard(name)
                services.alerts.report(_alert(name, "answers again.", resolved=True))
            return
        reaction = reaction_to(failure)
        if reaction.alarm and reaction.health == "nothing":
            what = failure.code or failure.error_class.value
            if len(self._going) < MOST:
                self._going.add(name)
            services.alerts.report(_alert(name, f"cannot be used, and it will not heal by itself: {what}."))


def _alert(name: str, what: str, *, resolved: bool = False) -> Alert:
    return Alert(
        kind="failure_alarm",
        subject=name,
        summary=f"Deployment {name} {what}",
        severity="critical",
        resolved=resolved,
        facts={"deployment": name},
    )
