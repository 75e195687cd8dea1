"""From the section `alerts` to the plugins that watch and the channels that tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmgate_plugins._alerting.alerting import Alerting
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.config import ChannelConfig, GatewayConfig, LatencyGoal, config_secrets
from llmgate_plugins.plugins import ExpiryAlerts, Goal, SloAlerts, SpendAnomalies, channels
from llmgate_plugins.types import Deployment

__all__ = ["alerting_of", "channels_of", "watchers_of"]

DAY: Final = 86_400.0

_CHANNELS: Final[Mapping[str, str]] = {
    "log": "LogChannel",
    "webhook": "WebhookChannel",
    "slack": "SlackChannel",
    "email": "EmailChannel",
}
"""Type in the file -> plugin, loaded when there is one."""


def alerting_of(config: GatewayConfig) -> Alerting:
    """How alerts are told."""
    return Alerting(repeat=config.alerts.repeat)


def channels_of(config: GatewayConfig) -> Iterator[object]:
    """The channels, in the file's order. One for the log takes the place of the built-in one."""
    find = config_secrets(config)
    taken = {channel.name for channel in config.alerts.channels}
    for channel in config.alerts.channels:
        arguments = {name: find(value) for name, value in dict(channel).items() if name != "type"}
        if channel.type == "log":
            del arguments["name"]
        elif channel.name is None:
            arguments["name"] = _free_name(channel, taken)
            taken.add(arguments["name"])
        if not arguments.get("secret", True):
            arguments["secret"] = None
        yield getattr(channels, _CHANNELS[channel.type])(**arguments)


def watchers_of(
    config: GatewayConfig, deployments: Sequence[Deployment], catalog: Catalog
) -> Iterator[object]:
    """The plugins that watch what the file wants watched."""
    goals = [
        *(_goal(one.slo, by="policy", name=name) for name, one in config.policies.items() if one.slo),
        *(_goal(one, by=one.by, name=one.name) for one in config.alerts.slo),
    ]
    if goals:
        yield SloAlerts(goals)
    anomalies = config.alerts.anomalies
    if anomalies is not None:
        yield SpendAnomalies(**dict(anomalies))
    dates = ExpiryAlerts(
        deployments,
        days=config.alerts.key_expiry / DAY,
        retirement_days=config.alerts.model_retirement / DAY,
        retires=lambda one: _retirement(one, catalog),
    )
    if dates.watched:
        yield dates


def _free_name(channel: ChannelConfig, taken: set[str | None]) -> str:
    name = plain = _CHANNELS[channel.type]
    number = 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name


def _goal(goal: LatencyGoal, **of: Any) -> Goal:
    return Goal(success=goal.success, p50=goal.p50, p95=goal.p95, p99=goal.p99, **of)


def _retirement(deployment: Deployment, catalog: Catalog) -> Any:
    card = catalog.lookup(deployment.provider, deployment.model, region=deployment.region)
    return None if card is None else card.deprecation
