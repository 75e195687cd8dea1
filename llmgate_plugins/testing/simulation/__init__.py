"""Deterministic simulation: a gateway, its providers and its callers on virtual time, from one seed.

`simulate(seed)` runs one world and checks every invariant; `python -m
llmgate_plugins.testing.simulation` runs many. Each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmgate_plugins.virtual_time import Deadlock, LoopClock, LoopSleeper, VirtualLoop, run_virtually

if TYPE_CHECKING:
    from llmgate_plugins.testing.simulation.fleet import FleetResult as FleetResult
    from llmgate_plugins.testing.simulation.fleet import simulate_fleet as simulate_fleet
    from llmgate_plugins.testing.simulation.options import Options as Options
    from llmgate_plugins.testing.simulation.options import Result as Result
    from llmgate_plugins.testing.simulation.options import Violation as Violation
    from llmgate_plugins.testing.simulation.run import Stage as Stage
    from llmgate_plugins.testing.simulation.run import build_gateway as build_gateway
    from llmgate_plugins.testing.simulation.run import simulate as simulate

_MODULES = {
    "FleetResult": "fleet",
    "Options": "options",
    "Result": "options",
    "Stage": "run",
    "Violation": "options",
    "build_gateway": "run",
    "simulate": "run",
    "simulate_fleet": "fleet",
}

__all__ = [
    "Deadlock",
    "FleetResult",
    "LoopClock",
    "LoopSleeper",
    "Options",
    "Result",
    "Stage",
    "Violation",
    "VirtualLoop",
    "build_gateway",
    "run_virtually",
    "simulate",
    "simulate_fleet",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
