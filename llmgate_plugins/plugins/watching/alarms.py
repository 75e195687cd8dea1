"""Alerts for what heals by nobody's doing but a person's: failures that eject nothing, plugins that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from llmgate_plugins.alerts import Alert
from llmgate_plugins.classification import reaction_to
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Outcome

__all__ = ["FailureAlarms"]

MOST: Final = 1_000
"""Deployments of which an alarm is remembered; some hosts make new ones for every call."""
BOOKS: Final = "LedgerAccounting"
AWAY: Final = {
    "ledger": "The ledger's database takes no rows; they wait in the outbox until it does.",
    "state": "The shared state is down; limits go by what each process was left, until it is back.",
}
BACK: Final = {
    "ledger": "The ledger's database takes rows again, and has those that waited.",
    "state": "The shared state is back.",
}


class FailureAlarms:
    """Reports failures that no retry and no probe will mend.

    "failure_alarm" (critical): what the table of reactions calls an alarm and yet ejects nothing,
    such as a proxy of our own that refuses, or an address that redirects. It is over with the
    next answer from there. Alarms that eject (a dead key, a retired model) are told by `Health`.

    "ledger_unavailable" (critical) and "plugin_failed" (a warning): a plugin has failed in a
    call that went on, the one that keeps the books or another. It is over with the next call
    in which it does not.

    "ledger_away" and "state_away" (warnings): the database takes no rows, which wait in the
    outbox; the server that processes share limits in is down, and each goes by what it was left.
    Nothing is lost or passed by that yet. It is over with the first call after they are back.
    """

    alerts = (
        ("failure_alarm", "A failure that nobody but a person mends, until there is an answer."),
        ("ledger_unavailable", "A call could not be booked, until the next one that could."),
        ("plugin_failed", "A plugin failed and the call went on, until it works again."),
        ("ledger_away", "The ledger's database takes no rows, and they wait in the outbox, until it does."),
        ("state_away", "The shared state is down, and processes go on by themselves, until it is back."),
    )

    def __init__(self) -> None:
        self._going: set[str] = set()
        self._failing: dict[str, Alert] = {}
        self._away: dict[str, Alert] = {}

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Look at failures; at answers only where something goes on."""
        failure = outcome.failure
        if failure is None:
            name = attempt.deployment.id
            if self._going and outcome.status == "success" and name in self._going:
                self._going.discard(name)
                services.alerts.report(_alarm(name, "answers again.", resolved=True))
            return
        reaction = reaction_to(failure)
        if reaction.alarm and reaction.health == "nothing":
            name, what = attempt.deployment.id, failure.code or failure.error_class.value
            if len(self._going) < MOST:
                self._going.add(name)
            services.alerts.report(_alarm(name, f"cannot be used, and will not heal by itself: {what}."))

    @hookimpl
    def end_call(self, record: DecisionRecord, services: Services) -> None:
        """Look at what went wrong in plugins, and whether what they stand on is there."""
        if getattr(services.ledger, "away", False) is True or "ledger" in self._away:
            self._look("ledger", services.ledger, services)
        if getattr(services.state, "away", False) is True or "state" in self._away:
            self._look("state", services.state, services)
        if not record.problems and not self._failing:
            return
        failed = set()
        for plugin, hook, error in record.problems:
            failed.add(plugin)
            alert = self._failing[plugin] = _failed(plugin, hook, error)
            services.alerts.report(alert)
        for plugin in [one for one in list(self._failing) if one not in failed]:
            began = self._failing.pop(plugin, None)
            if began is not None:
                services.alerts.report(_works_again(began))

    def _look(self, what: str, store: object, services: Services) -> None:
        """It is away, or was."""
        if getattr(store, "away", False) is True:
            alert = self._away.get(what)
            if alert is None:
                alert = self._away[what] = Alert(kind=f"{what}_away", subject=what, summary=AWAY[what])
            services.alerts.report(alert)
        elif (began := self._away.pop(what, None)) is not None:
            services.alerts.report(replace(began, summary=BACK[what], resolved=True))


def _alarm(name: str, what: str, **more: Any) -> Alert:
    return Alert(
        kind="failure_alarm",
        subject=name,
        summary=f"Deployment {name} {what}",
        severity="critical",
        facts={"deployment": name},
        **more,
    )


def _failed(plugin: str, hook: str, error: str) -> Alert:
    books = plugin == BOOKS
    kind_of_error = error.partition(":")[0]  # its text may quote a prompt
    what = (
        "Calls cannot be booked" if books else f"Plugin {plugin} fails in {hook}, and calls go on without it"
    )
    return Alert(
        kind="ledger_unavailable" if books else "plugin_failed",
        subject=plugin,
        summary=f"{what} ({kind_of_error}); the log says more.",
        severity="critical" if books else "warning",
        facts={"plugin": plugin, "hook": hook},
    )


def _works_again(alert: Alert) -> Alert:
    what = "Calls are booked again." if alert.subject == BOOKS else f"Plugin {alert.subject} works again."
    return Alert(kind=alert.kind, subject=alert.subject, summary=what, resolved=True)
