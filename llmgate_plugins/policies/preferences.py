"""The names of the preferences that ship in the box."""

from __future__ import annotations

from typing import Final

__all__ = ["KEEP_GOALS", "PREFERENCES", "UNWEIGHED"]

PREFERENCES: Final = ("ordered", "weighted", "cheapest", "fastest", "most_reliable", "balanced", "best_rated")
"""What `prefer` may name without any further plugin."""

KEEP_GOALS: Final = frozenset({"cheapest", "fastest", "most_reliable", "balanced"})
"""Those to which the goals of `slo` make a difference."""

UNWEIGHED: Final = frozenset({"ordered", "weighted"})
"""Those that have no scores, and so cannot be weighed against others."""
