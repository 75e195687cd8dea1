"""Channels for alerts that tests look at."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from llmgate_plugins import Alert, Alerting, Context, Gateway, hookimpl
from llmgate_plugins.services import Services
from llmgate_plugins.testing import PluginContract, VirtualClock

__all__ = ["AsyncListener", "BriefContract", "Heard", "Listener", "gateway_with"]


class Heard:
    """What a channel was told, as short words."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    @property
    def words(self) -> list[str]:
        return [f"{one.subject} {'over' if one.resolved else one.severity}" for one in self.alerts]


class Listener(Heard):
    """Writes down what it is told.

    Args:
        error: Raised each time.
        gate: Waited for each time, after the alert is written down.
    """

    def __init__(
        self, name: str = "Listener", error: Exception | None = None, gate: threading.Event | None = None
    ) -> None:
        super().__init__()
        self.name, self.error, self.gate = name, error, gate

    @hookimpl
    def deliver_alert(self, alert: Alert) -> None:
        self.alerts.append(alert)
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error


class AsyncListener(Heard):
    name = "AsyncListener"

    @hookimpl
    async def deliver_alert(self, alert: Alert, services: Services) -> None:
        self.alerts.append(alert)


def gateway_with(*plugins: object, clock: VirtualClock | None = None, **options: Any) -> Gateway:
    """A gateway with these and nothing else, on a virtual clock."""
    alerts: Iterable[str] = ("repeat", "waiting")
    own = {name: options.pop(name) for name in alerts if name in options}
    return Gateway(
        plugins=plugins, defaults=False, clock=clock or VirtualClock(), alerts=Alerting(**own), **options
    )


class BriefContract(PluginContract):
    """For plugins that do not look at who asks for what: one caller with one prompt is enough."""

    contexts = (Context(),)
    prompts = ("hello",)
