"""For authors of plugins and applications: clocks, scripted providers, a provider simulator.

Each name is imported when it is first used, so that this package needs neither h11 nor
pytest until something that needs them is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmgate_plugins.testing.clock import VirtualClock as VirtualClock
    from llmgate_plugins.testing.clock import VirtualSleeper as VirtualSleeper
    from llmgate_plugins.testing.contract import PluginContract as PluginContract
    from llmgate_plugins.testing.faces import FACES as FACES
    from llmgate_plugins.testing.faces import STREAMS as STREAMS
    from llmgate_plugins.testing.faces import WHOLE as WHOLE
    from llmgate_plugins.testing.faces import Told as Told
    from llmgate_plugins.testing.faces import ask as ask
    from llmgate_plugins.testing.faults import Fault as Fault
    from llmgate_plugins.testing.faults import FaultKind as FaultKind
    from llmgate_plugins.testing.scripted import ScriptedProvider as ScriptedProvider
    from llmgate_plugins.testing.simulator.provider import RecordedRequest as RecordedRequest
    from llmgate_plugins.testing.simulator.provider import SimulatedProvider as SimulatedProvider
    from llmgate_plugins.testing.simulator.question import Question as Question
    from llmgate_plugins.testing.simulator.question import Reply as Reply
    from llmgate_plugins.testing.simulator.server import ProviderSimulator as ProviderSimulator
    from llmgate_plugins.testing.steps import Hang as Hang
    from llmgate_plugins.testing.steps import Pause as Pause
    from llmgate_plugins.testing.steps import Slow as Slow
    from llmgate_plugins.testing.steps import Step as Step
    from llmgate_plugins.testing.steps import Stream as Stream

_MODULES = {
    "Fault": "faults",
    "FaultKind": "faults",
    "Hang": "steps",
    "Pause": "steps",
    "PluginContract": "contract",
    "FACES": "faces",
    "STREAMS": "faces",
    "WHOLE": "faces",
    "Told": "faces",
    "ask": "faces",
    "ProviderSimulator": "simulator.server",
    "Question": "simulator.question",
    "RecordedRequest": "simulator.provider",
    "Reply": "simulator.question",
    "ScriptedProvider": "scripted",
    "SimulatedProvider": "simulator.provider",
    "Slow": "steps",
    "Step": "steps",
    "Stream": "steps",
    "VirtualClock": "clock",
    "VirtualSleeper": "clock",
}

__all__ = [
    "FACES",
    "STREAMS",
    "WHOLE",
    "Fault",
    "FaultKind",
    "Hang",
    "Pause",
    "PluginContract",
    "ProviderSimulator",
    "Question",
    "RecordedRequest",
    "Reply",
    "ScriptedProvider",
    "SimulatedProvider",
    "Slow",
    "Step",
    "Stream",
    "Told",
    "VirtualClock",
    "VirtualSleeper",
    "ask",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
