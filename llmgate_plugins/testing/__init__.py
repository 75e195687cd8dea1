"""For authors of plugins and applications: clocks, scripted providers, a provider simulator.

Each name is imported when it is first used, so that this package needs neither h11 nor
pytest until something that needs them is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmgate_plugins.testing.faults import Fault as Fault
    from llmgate_plugins.testing.simulator.provider import RecordedRequest as RecordedRequest
    from llmgate_plugins.testing.simulator.provider import SimulatedProvider as SimulatedProvider
    from llmgate_plugins.testing.simulator.question import Question as Question
    from llmgate_plugins.testing.simulator.question import Reply as Reply
    from llmgate_plugins.testing.simulator.server import ProviderSimulator as ProviderSimulator

_WHERE = {
    "Fault": "faults",
    "ProviderSimulator": "simulator",
    "Question": "simulator",
    "RecordedRequest": "simulator",
    "Reply": "simulator",
    "SimulatedProvider": "simulator",
}

__all__ = [
    "Fault",
    "ProviderSimulator",
    "Question",
    "RecordedRequest",
    "Reply",
    "SimulatedProvider",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
