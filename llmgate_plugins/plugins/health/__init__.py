"""Health of deployments: who is ill, for how long, and how it comes back."""

from __future__ import annotations

from llmgate_plugins.plugins.health.breaker import State
from llmgate_plugins.plugins.health.plugin import Health
from llmgate_plugins.plugins.health.reporting import HealthChange, HealthRow
from llmgate_plugins.plugins.health.scopes import Ailment

__all__ = ["Ailment", "Health", "HealthChange", "HealthRow", "State"]
