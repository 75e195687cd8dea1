"""Detectors: plugins that watch calls, money and dates, and report alerts."""

from __future__ import annotations

from llmgate_plugins.plugins.watching.alarms import FailureAlarms
from llmgate_plugins.plugins.watching.expiry import ExpiryAlerts
from llmgate_plugins.plugins.watching.slo import Goal, SloAlerts
from llmgate_plugins.plugins.watching.spend import SpendAnomalies

__all__ = ["ExpiryAlerts", "FailureAlarms", "Goal", "SloAlerts", "SpendAnomalies"]
