"""Spans and metrics through the OpenTelemetry API."""

from __future__ import annotations

from llmgate_plugins.plugins.telemetry.instruments import METRICS, Metric, Names
from llmgate_plugins.plugins.telemetry.plugin import Telemetry
from llmgate_plugins.plugins.telemetry.spans import AttemptsAs

__all__ = ["METRICS", "AttemptsAs", "Metric", "Names", "Telemetry"]
