"""The state of a simulated fleet, which checks what it grants."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from llmgate_plugins.services import Grant, Lease, Reservation
from llmgate_plugins.state import MemoryState
from llmgate_plugins.state.meters import Meter
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.virtual_time import LoopClock
from llmgate_plugins.windows import Window

__all__ = ["State"]


class State(MemoryState):
    """The state of all, with a look at every limit that grants (I3).

    Args:
        told: Of each lease that ends: its id, and what it has cost.
    """

    def __init__(self, clock: LoopClock, journal: Journal, told: Callable[[str, int], None]) -> None:
        super().__init__(clock, random.Random(0))  # noqa: S311 - not for cryptography
        self._journal = journal
        self._told = told
        self._ended: dict[str, Mapping[str, int]] = {}

    def _finish(self, lease: Lease, actual: Mapping[str, int]) -> bool:
        if lease.id not in self._ended:
            self._ended[lease.id] = actual
            self._told(lease.id, max((actual[key] for key in actual if key.startswith("budget:")), default=0))
        return super()._finish(lease, actual)

    def _take_over(self, meter: Meter, id: str, *given: Any) -> None:
        """As on a server: a lease that was settled while the books were read is not held again."""
        ended = self._ended.get(id)
        if ended is None:
            super()._take_over(meter, id, *given)
        else:
            (meter.newest or meter).add(ended.get(meter.key, 0), 0)

    def reserve(self, *given: Any, **named: Any) -> Any:
        answer = super().reserve(*given, **named)
        if isinstance(answer, Grant):
            # As on another machine: a lease is its id, and means nothing to a state that is new.
            answer = replace(answer, lease=Lease(id=answer.lease.id, reservations=answer.lease.reservations))
            for wanted, level in zip(answer.lease.reservations, answer.levels, strict=True):
                if wanted.enforced:
                    self._journal.check(
                        level.spent + level.held <= level.limit,
                        "I3",
                        lambda level=level: f"{level.key}: {level.spent} and {level.held} of {level.limit}",  # type: ignore[misc]
                    )
        return answer

    def knows(self, key: str, window: Window | float | None) -> bool:
        """Whether it counts this, and need not ask the books."""
        nothing = Reservation(key=key, amount=0, limit=0, window=window, enforced=False, seed=True)
        answer = super().reserve((nothing,), ttl=1.0)
        return isinstance(answer, Grant) and self.release(answer.lease)
