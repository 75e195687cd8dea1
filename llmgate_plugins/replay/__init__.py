"""Replay: recorded calls through other policies, on virtual time, beside what they really were.

Each name is imported when it is first used: reading books needs SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmgate_plugins.replay.comparing import Move as Move
    from llmgate_plugins.replay.comparing import Side as Side
    from llmgate_plugins.replay.comparing import comparable as comparable
    from llmgate_plugins.replay.conditions import Judgement as Judgement
    from llmgate_plugins.replay.replaying import replay as replay
    from llmgate_plugins.replay.result import Refusing as Refusing
    from llmgate_plugins.replay.result import Replay as Replay

_MODULES = {
    "Judgement": "conditions",
    "Move": "comparing",
    "Refusing": "result",
    "Replay": "result",
    "Side": "comparing",
    "comparable": "comparing",
    "replay": "replaying",
}

__all__ = ["Judgement", "Move", "Refusing", "Replay", "Side", "comparable", "replay"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
