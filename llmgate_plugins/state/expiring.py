"""A mapping whose values may end at a moment."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

__all__ = ["Expiring"]

T = TypeVar("T")


class Expiring(Generic[T]):
    """Values under keys, each until a moment or for ever (`math.inf`).

    Not thread-safe. Every operation costs O(log n), spread over calls. The heap of
    moments may lag behind the values; it is rebuilt when more than half of it is stale,
    so memory follows the live values."""

    __slots__ = ("_ends", "_values")

    def __init__(self) -> None:
        self._values: dict[str, tuple[T, float]] = {}
        self._ends: list[tuple[float, str]] = []

    def put(self, key: str, value: T, now: float, until: float) -> None:
        """Keep a value; what was under the key is gone."""
        self._drop_ended(now)
        self._values[key] = (value, until)
        if until == math.inf:
            return
        heapq.heappush(self._ends, (until, key))
        if len(self._ends) > 2 * len(self._values) + 64:
            self._ends = [(end, key) for key, (_, end) in self._values.items() if end != math.inf]
            heapq.heapify(self._ends)

    def replace(self, key: str, value: T) -> None:
        """Another value under a key that is there; it still ends when it would have."""
        self._values[key] = (value, self._values[key][1])

    def get(self, key: str, now: float) -> tuple[T, float] | None:
        """(value, its end), or None."""
        self._drop_ended(now)
        return self._values.get(key)

    def pop(self, key: str, now: float) -> bool:
        """Forget a value; whether there was one."""
        self._drop_ended(now)
        return self._values.pop(key, None) is not None

    def __len__(self) -> int:
        return len(self._values)

    def _drop_ended(self, now: float) -> None:
        ends = self._ends
        while ends and ends[0][0] <= now:
            until, key = heapq.heappop(ends)
            entry = self._values.get(key)
            if entry is not None and entry[1] <= until:
                del self._values[key]
