"""What limits hold for the attempts of a call, left where the books find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmgate_plugins.context import StashKey

__all__ = ["HOLDS", "Hold"]


# Not frozen: made for every attempt, and frozen costs three times as much.
@dataclass(slots=True, kw_only=True)
class Hold:
    """What is held for one attempt; nobody changes it once it is left.

    Attributes:
        nano_usd: Nano-dollars, the worst case.
        tokens: Tokens, the worst case.
        expires: Unix time at which the hold ends by itself; None if nothing is held.
    """

    nano_usd: int = 0
    tokens: int = 0
    expires: float | None = None


HOLDS: Final[StashKey[dict[int, Hold]]] = StashKey("holds")
"""Number of the attempt -> what is held for it."""
