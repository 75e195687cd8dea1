"""Alerts before a key expires, and before a provider retires a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.dates import KEY_EXPIRES, moment_of
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.services import Services
from llmgate_plugins.types import Deployment

__all__ = ["ExpiryAlerts"]

EVERY: Final = 3600.0
CRITICAL_DAYS: Final = 3.0


class ExpiryAlerts:
    """Looks once an hour, when there are calls, at what has a date.

    "key_expiry": the key of a deployment whose `info` (LiteLLM: `model_info`) says
    `key_expires: 2026-12-31`; a warning, critical in the last three days and from then on. One
    alert for each key. "model_retirement": the catalogue, or `info` (`deprecation_date`), says
    when the provider retires the model; for information, in the last week a warning.

    Args:
        deployments: Which to look at.
        days: How long before a key expires.
        retirement_days: How long before a model is retired.
        retires: When the provider retires a deployment's model; None if not known.

    Raises:
        ValueError: A number is out of its range, or a date cannot be read.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment],
        *,
        days: float = 14.0,
        retirement_days: float = 30.0,
        retires: Callable[[Deployment], date | None] = lambda _: None,
    ) -> None:
        self._days = positive("days", days)
        self._retirement_days = positive("retirement_days", retirement_days)
        self._keys: dict[str, tuple[datetime, Deployment]] = {}
        self._models: list[tuple[datetime, Deployment]] = []
        for one in deployments:
            expires = moment_of(one.info.get(KEY_EXPIRES))
            if expires is not None:
                self._keys.setdefault(one.credential or one.id, (expires, one))
            retired = moment_of(one.info.get("deprecation_date") or retires(one))
            if retired is not None:
                self._models.append((retired, one))
        self._next = -float("inf") if self.watched else float("inf")
        self._lock = threading.Lock()

    @property
    def alerts(self) -> tuple[tuple[str, str], ...]:
        """(kind, when) of what is watched."""
        keys = ("key_expiry", f"A key expires within {self._days:g} days.")
        models = ("model_retirement", f"A provider retires a model within {self._retirement_days:g} days.")
        return (*((keys,) if self._keys else ()), *((models,) if self._models else ()))

    @property
    def watched(self) -> int:
        """How many dates there are."""
        return len(self._keys) + len(self._models)

    @hookimpl
    def end_call(self, services: Services) -> None:
        """Look, if an hour has gone by."""
        now = services.clock.monotonic()
        if now < self._next:
            return
        with self._lock:
            if now < self._next:
                return
            self._next = now + EVERY
        for alert in self.due(services.clock.time()):
            services.alerts.report(alert)

    def due(self, now: float) -> Iterator[Alert]:
        """What is near at this Unix time."""
        today = datetime.fromtimestamp(now, UTC)
        for key, (expires, deployment) in self._keys.items():
            left = expires - today
            if left <= timedelta(days=self._days):
                severity: Severity = "critical" if left <= timedelta(days=CRITICAL_DAYS) else "warning"
                yield _alert("key_expiry", key, f"Key {key}", "expire", expires, left, severity, deployment)
        for retired, deployment in self._models:
            left = retired - today
            if left <= timedelta(days=self._retirement_days):
                what = f"Model {deployment.provider}/{deployment.model}"
                severity = "warning" if left <= timedelta(days=7) else "info"
                yield _alert(
                    "model_retirement", deployment.id, what, "retire", retired, left, severity, deployment
                )


def _alert(
    kind: str,
    subject: str,
    what: str,
    verb: str,
    ends: datetime,
    left: timedelta,
    severity: Severity,
    deployment: Deployment,
) -> Alert:
    day = (ends - timedelta(seconds=1)).strftime("%Y-%m-%d")
    if left <= timedelta(0):
        words = {"expire": "has expired", "retire": "was retired by its provider"}[verb]
        summary = f"{what} {words} on {day}."
    else:
        words = {"expire": "expires", "retire": "is retired by its provider"}[verb]
        count = left.days
        summary = f"{what} {words} on {day}, " + (
            f"in {count} day{'' if count == 1 else 's'}." if count else "within a day."
        )
    return Alert(
        kind=kind,
        subject=subject,
        summary=summary,
        severity=severity,
        facts={
            "deployment": deployment.id,
            "provider": deployment.provider,
            "model": deployment.model,
            "day": day,
        },
    )
