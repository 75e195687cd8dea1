"""How sure one can be of a share that was counted."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Z", "wilson"]

Z: Final = 1.959964
"""Standard deviations on each side that hold 95 % of a normal distribution."""


def wilson(hits: float, trials: float, z: float = Z) -> tuple[float, float]:
    """The interval in which the true share lies with 95 % confidence, (0, 1) without any trial.

    Wilson's score interval (E. B. Wilson, "Probable inference, the law of succession, and
    statistical inference", JASA 22, 1927), which holds for few trials and for shares near 0
    and 1 as well. Trials that have faded may be parts of one.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, square = hits / trials, z * z
    middle = share + square / (2 * trials)
    spread = z * math.sqrt((share * (1 - share) + square / (4 * trials)) / trials)
    whole = 1 + square / trials
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
