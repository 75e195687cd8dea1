"""What the books and the last hours say: reports, exports, forecasts, live statistics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from llmgate_plugins.insight.live import LiveBy, LiveRow, LiveStatistics, live_of

__all__ = ["LiveBy", "LiveRow", "LiveStatistics", "live_of"]

_HOMES: Final = {"LiveBy": "live", "LiveRow": "live", "LiveStatistics": "live", "live_of": "live"}


def __getattr__(name: str) -> Any:
    # Some of them bring SQLAlchemy along, so each is imported when it is asked for.
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
