"""A simulated fleet: gateways that share limits and books, crash in mid-call, and find the state emptied."""

from __future__ import annotations

from llmgate_plugins.testing.simulation.fleet.run import FleetResult, simulate_fleet

__all__ = ["FleetResult", "simulate_fleet"]
