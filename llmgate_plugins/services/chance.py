"""Randomness, which a seed makes the same again."""

from __future__ import annotations

import random
from typing import Protocol

__all__ = ["Random", "default_random"]


class Random(Protocol):
    """What the gateway needs of `random.Random`."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def uniform(self, a: float, b: float) -> float:
        """A number between these two."""

    def getrandbits(self, k: int, /) -> int:
        """A number of so many bits."""


def default_random(seed: int | None = None) -> Random:
    """A generator of its own, seeded if asked."""
    return random.Random(seed)  # noqa: S311 - not for cryptography
