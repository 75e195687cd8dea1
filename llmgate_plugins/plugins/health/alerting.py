"""What a change of health is as an alert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.plugins.health.breaker import State
from llmgate_plugins.plugins.health.reporting import HealthChange
from llmgate_plugins.plugins.health.scopes import Ailment
from llmgate_plugins.types import Scope

__all__ = ["ALERTS", "alert_of"]

ALERTS: Final = (
    ("ejected", "A deployment is left out, until it serves again."),
    ("credential_dead", "A key is refused, or its account has no money, until it works again."),
    ("provider_down", "All of a provider is left out, until it serves again."),
)
"""(kind, when) of each."""

WHY: Final[Mapping[Ailment, str]] = {
    Ailment.THROTTLE: "it turns calls away",
    Ailment.OVERLOAD: "it answers with errors",
    Ailment.TRANSPORT: "it cannot be reached, or cuts connections",
    Ailment.SLOW: "it does not answer in time",
    Ailment.QUALITY: "its answers are empty",
    Ailment.MONEY: "the account has no money, or its quota is used up",
    Ailment.KEY: "the key is refused, or may not do this",
    Ailment.CERTIFICATE: "its certificate is not good",
    Ailment.MODEL: "the model is gone, or may not be used there",
}

CREDENTIAL: Final = frozenset({Ailment.MONEY, Ailment.KEY})
CRITICAL: Final = CREDENTIAL | {Ailment.CERTIFICATE}
"""Nothing but a person makes these well."""

GONE: Final = frozenset({State.EJECTED, State.HALF_OPEN, State.PROBING})
BACK: Final = frozenset({State.CLOSED, State.SLOW_START})


def alert_of(change: HealthChange, unix: float) -> Alert | None:
    """The alert that this change begins or ends; None if it does neither, as for a throttling.

    Args:
        unix: Unix time less monotonic time.
    """
    if change.after is State.EJECTED:
        over = False
    elif change.after in BACK and change.before in GONE:
        over = True
    else:
        return None
    kind, who = _who(change)
    summary = f"{who} serves again." if over else f"{who} is left out: {WHY[change.ailment]}."
    return Alert(
        kind=kind,
        subject=f"{change.name}/{change.ailment.value}",
        summary=summary,
        severity=_severity(change),
        resolved=over,
        facts={
            change.scope.value: change.name,
            "reason": change.reason,
            "until": None if over or change.until is None else round(change.until + unix, 3),
        },
    )


def _who(change: HealthChange) -> tuple[str, str]:
    if change.scope is Scope.PROVIDER:
        return "provider_down", f"Provider {change.name}"
    if change.scope is Scope.CREDENTIAL:
        return "credential_dead", f"Key {change.name}"
    kind = "credential_dead" if change.ailment in CREDENTIAL else "ejected"
    return kind, f"Deployment {change.name}"


def _severity(change: HealthChange) -> Severity:
    critical = change.scope is Scope.PROVIDER or change.ailment in CRITICAL
    return "critical" if critical else "warning"
