"""Numbers drawn by lot from names alone: the same names draw the same number, in every process."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

__all__ = ["draw"]

_RANGE: Final = 1 << 53
"""So many different numbers, as many as a float between 0 and 1 can tell apart."""


def draw(*names: str) -> float:
    """A number from 0 up to 1, drawn evenly by the BLAKE2b hash (RFC 7693) of the names.

    What is drawn so can be drawn again: by another process of a fleet, and when a recorded
    call is replayed. Names are kept apart, so that ("a", "bc") is not ("ab", "c").
    """
    digest = blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / _RANGE
