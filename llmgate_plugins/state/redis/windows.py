"""Windows as the scripts are told of them."""

from __future__ import annotations

from functools import lru_cache

from llmgate_plugins.windows import Calendar, Fixed, Rolling, Window

__all__ = ["told"]


def told(window: Window | float | None, at: float) -> str:
    """ "KIND TAG A B": of a calendar window with its bounds at this moment, which the script checks."""
    if isinstance(window, Calendar):
        start, end = window.bounds(at)
        return f"c {window.unit}@{window.zone} {start!r} {end!r}"
    return _lasting(window)


@lru_cache(maxsize=1024)
def _lasting(window: Fixed | Rolling | float | None) -> str:
    if window is None:
        return "n - - -"
    if isinstance(window, Rolling):
        return f"r {float(window.seconds)!r} {window.part!r} -"
    seconds = float(window.seconds if isinstance(window, Fixed) else window)
    return f"f {seconds!r} {seconds!r} -"
