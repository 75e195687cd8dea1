"""Something that somebody should know, and where a plugin says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from llmgate_plugins.types import EMPTY

__all__ = ["NO_ALERTS", "SEVERITIES", "TEST", "Alert", "Alerts", "Severity"]

Severity = Literal["info", "warning", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the least to the most."""

TEST: Final = "test"
"""The kind of an alert that only tries a channel out, which takes it whatever else it wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that somebody should know.

    Attributes:
        kind: What kind of thing, a stable code: "budget_threshold", "spend_anomaly",
            "slo_burn", "ejected", "key_expiry", ...
        subject: What it is about: a budget's key, a deployment's id. Kind and subject together
            are the alert's identity: while it goes on it is told once.
        summary: One sentence for people, without anything secret.
        severity: "info", "warning" or "critical".
        resolved: It is over. Told only if its beginning was.
        at: Unix time; None for now.
        facts: Further facts as plain values, for machines.
        until: Unix time at which it is over by itself, such as the end of a budget's window.
            Processes that share a state or books tell it once until then; without, they may
            tell it again after `repeat`.
        since: Unix time at which it began. Set when it is told.
        id: Of this notice, unique; the same when a channel tries again. Set when it is told.
    """

    kind: str
    subject: str
    summary: str
    severity: Severity = "warning"
    resolved: bool = False
    at: float | None = None
    facts: Mapping[str, str | int | float | bool | None] = field(default=EMPTY)
    until: float | None = None
    since: float | None = None
    id: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same alert as another."""
        return self.kind, self.subject

    def to_dict(self) -> dict[str, Any]:
        """It as plain JSON values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "subject": self.subject,
            "summary": self.summary,
            "severity": self.severity,
            "resolved": self.resolved,
            "at": self.at,
            "since": self.since,
            "until": self.until,
            "facts": dict(self.facts),
        }


class Alerts(Protocol):
    """Where plugins report alerts (`services.alerts`)."""

    def report(self, alert: Alert) -> None:
        """Hand an alert over to be delivered, off the path of any call.

        Never blocks and never raises. A repeat of one that goes on is not delivered again."""


class _NoAlerts:
    """Nobody wants to know."""

    def report(self, alert: Alert) -> None:
        """Forget it."""

    def __repr__(self) -> str:
        return "NO_ALERTS"


NO_ALERTS: Final[Alerts] = _NoAlerts()
"""What `services.alerts` is where nobody delivers."""
