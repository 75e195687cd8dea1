"""Exact quantiles of values that came in groups, each of which is sorted once."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from typing import Final, Self

__all__ = ["SHARES", "Values", "quantiles_of"]

SHARES: Final = (0.50, 0.95, 0.99)
"""The quantiles that reports tell."""


_MANY_GROUPS: Final = 500


class Values(array):  # type: ignore[type-arg]  # an array cannot be subscripted when it is a base
    """The values of one group."""

    def __new__(cls) -> Self:
        return super().__new__(cls, "d")  # type: ignore[return-value]  # typeshed forgets subclasses

    step = array.append


def quantiles_of(groups: Sequence[array[float]]) -> tuple[float, ...]:
    """The `SHARES` of all values of these sorted groups, by nearest rank."""
    if len(groups) > _MANY_GROUPS:
        groups = [array("d", sorted(chain.from_iterable(groups)))]
    number = sum(map(len, groups))
    return tuple(_at_rank(groups, max(math.ceil(share * number), 1)) for share in SHARES)


def _at_rank(groups: Sequence[array[float]], rank: int) -> float:
    """The smallest value that at least so many values are not above.

    Halves the span it must be in, until that is one number: no group is sorted again."""
    if len(groups) == 1:
        return groups[0][rank - 1]
    low, high = min(values[0] for values in groups), max(values[-1] for values in groups)
    if sum(bisect_right(values, low) for values in groups) >= rank:
        return low
    while low < (middle := low + (high - low) / 2) < high:
        if sum(bisect_right(values, middle) for values in groups) >= rank:
            high = middle
        else:
            low = middle
    return high
