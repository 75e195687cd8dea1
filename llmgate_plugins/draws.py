"""Numbers drawn by lot from names alone: the same names draw the same number, in every process."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

__all__ = ["Lots", "arrival", "draw"]

_RANGE: Final = 1 << 53
"""So many different numbers, as many as a float between 0 and 1 can tell apart."""
_MASK: Final = (1 << 64) - 1


def draw(*names: str) -> float:
    """A number from 0 up to 1, drawn evenly by the BLAKE2b hash (RFC 7693) of the names.

    What is drawn so can be drawn again: by another process of a fleet, and when a recorded
    call is replayed. Names are kept apart, so that ("a", "bc") is not ("ab", "c").
    """
    digest = blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / _RANGE


def arrival(lot: float, weight: float) -> float:
    """When one of this weight, above 0, arrives by its lot: of several the first has it as often as its
    weight says.

    Each draws for itself, so that a weight that grows only takes, and one that shrinks only
    loses (Schindelhauer and Schomaker 2005, "Weighted distributed hash tables").
    """
    return -math.log(1.0 - lot) / weight  # a lot is below 1, so that the logarithm exists


class Lots:
    """As many numbers from 0 up to 1 as are wanted, all settled by the first one drawn.

    For whoever needs several for one purpose: each costs a fifth of a draw of its own. They
    are SplitMix64's (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014).

    Args:
        drawn: What `draw` gave.
    """

    __slots__ = ("_state",)

    def __init__(self, drawn: float) -> None:
        self._state = int(drawn * _RANGE) << 11

    def next(self) -> float:
        """The next number from 0 up to 1."""
        self._state = mixed = self._state + 0x9E3779B97F4A7C15 & _MASK
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
        return ((mixed ^ mixed >> 31) >> 11) / _RANGE
