"""What limits hold for the attempts of a call, left where the books find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from llmgate_plugins._building import quickly_built
from llmgate_plugins.context import StashKey

__all__ = ["BOOKED_WITHIN", "HOLDS", "SETTLED", "Hold"]

SETTLED: Final = 2.0
"""Seconds after a state began to know what happens from which the books can be believed: a call
that was admitted just before has its row by then."""
BOOKED_WITHIN: Final = SETTLED / 2
"""Seconds in which an intent follows its hold. One that takes longer is in the books too late for
whoever believes them, and so its hold is confirmed before anything is sent. Half, since clocks of
two machines do not go at the same pace, and whoever measures may be held up as well."""


# Not frozen: made for every attempt, and frozen costs three times as much.
@quickly_built
@dataclass(slots=True, kw_only=True)
class Hold:
    """What is held for one attempt; nobody changes it once it is left.

    Attributes:
        nano_usd: Nano-dollars, the worst case.
        tokens: Tokens, the worst case.
        expires: Unix time at which the hold ends by itself; None if nothing is held.
        at: Monotonic time before which it was not held.
        confirm: Whether all of it is held yet: asks as `begin_attempt` did, and answers as that
            does. For whoever writes the intent later than `BOOKED_WITHIN` seconds after `at`,
            since a state that was emptied meanwhile may have read books without it. None where
            what is held cannot be lost.
    """

    nano_usd: int = 0
    tokens: int = 0
    expires: float | None = None
    at: float = 0.0
    confirm: Callable[[], Any] | None = None


HOLDS: Final[StashKey[dict[int, Hold]]] = StashKey("holds")
"""Number of the attempt -> what is held for it."""
