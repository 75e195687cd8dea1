"""What happened at one place, in slices of time: fine ones of the last minutes, coarse ones of hours."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.insight.sketch import Sketch

__all__ = ["COARSE", "FINE", "Ring", "Series", "Slice"]


@dataclass(frozen=True, slots=True)
class Ring:
    """So many slices of the same length, of which the oldest makes room for the newest."""

    width: float
    slices: int

    @property
    def seconds(self) -> float:
        """How far back it goes."""
        return self.width * self.slices

    def start(self, at: float) -> float:
        """When the slice begins that holds this moment."""
        return math.floor(at / self.width) * self.width


FINE: Final = Ring(10.0, 60)
COARSE: Final = Ring(300.0, 72)


class Slice:
    """What happened between two moments of the monotonic clock."""

    __slots__ = (
        "begins", "cost", "count", "ends", "error_classes", "first_token", "latency", "successes", "tokens",
    )  # fmt: skip

    def __init__(self, ring: Ring, at: float) -> None:
        self.begins = ring.start(at)
        self.ends = self.begins + ring.width
        self.count = self.successes = self.tokens = self.cost = 0
        self.error_classes: dict[str, int] = {}
        self.latency = Sketch()
        self.first_token = Sketch()

    def succeed(self, latency: float, first_token: float | None) -> None:
        """Count a success that took so many seconds."""
        self.successes += 1
        self.latency.add(latency)
        if first_token is not None:
            self.first_token.add(first_token)

    def fail(self, error_class: str) -> None:
        """Count a failure of this class."""
        self.error_classes[error_class] = self.error_classes.get(error_class, 0) + 1

    def absorb(self, other: Slice) -> None:
        """Add what happened in another."""
        self.count += other.count
        self.successes += other.successes
        self.tokens += other.tokens
        self.cost += other.cost
        for error_class, number in other.error_classes.items():
            self.error_classes[error_class] = self.error_classes.get(error_class, 0) + number
        self.latency.absorb(other.latency)
        self.first_token.absorb(other.first_token)

    def pack(self) -> None:
        """Use less memory, since it is over."""
        self.latency.pack()
        self.first_token.pack()


class Series:
    """The slices of one deployment or route. A slice in which nothing happened is not there.

    What stands in the fine slices that are over stands in the coarse ones as well.

    Args:
        names: What it is called, by what rows may be brought together by.
        at: Now, monotonic seconds.
    """

    __slots__ = ("_coarse", "_fine", "current", "names")

    def __init__(self, names: Mapping[str, str], at: float) -> None:
        self.names = names
        self.current = Slice(FINE, at)
        self._fine = deque([self.current], maxlen=FINE.slices + 1)
        self._coarse: deque[Slice] = deque(maxlen=COARSE.slices + 1)

    def next(self, at: float) -> Slice:
        """Begin a new slice, since the current one is over."""
        over = self.current
        if not self._coarse or self._coarse[-1].ends <= over.begins:
            if self._coarse:
                self._coarse[-1].pack()
            self._coarse.append(Slice(COARSE, over.begins))
        self._coarse[-1].absorb(over)
        over.pack()
        self.current = Slice(FINE, at)
        self._fine.append(self.current)
        return self.current

    def since(self, ring: Ring, start: float) -> list[Slice]:
        """What has happened since, in slices of this ring; `start` is where one begins."""
        kept = self._fine if ring is FINE else (*self._coarse, self.current)
        return [one for one in kept if one.begins >= start]
