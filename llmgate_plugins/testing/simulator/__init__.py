"""A provider simulator over real HTTP on 127.0.0.1. Needs the package h11."""

from __future__ import annotations

from llmgate_plugins.testing.faults import Fault
from llmgate_plugins.testing.simulator.provider import RecordedRequest, SimulatedProvider
from llmgate_plugins.testing.simulator.question import Question, Reply, Tool
from llmgate_plugins.testing.simulator.server import ProviderSimulator

__all__ = [
    "Fault",
    "ProviderSimulator",
    "Question",
    "RecordedRequest",
    "Reply",
    "SimulatedProvider",
    "Tool",
]
