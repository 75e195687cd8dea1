"""What the processes of a simulated fleet have in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins.testing.simulation.fleet.books import Books
from llmgate_plugins.testing.simulation.fleet.state import State
from llmgate_plugins.testing.simulation.journal import Journal
from llmgate_plugins.types import Deployment, Price
from llmgate_plugins.virtual_time import LoopClock

__all__ = ["CALL", "DEADLINE", "LEASE", "LONGEST", "TEAMS", "USERS", "Shared"]

TEAMS: Final = ("red", "blue", "green")
USERS: Final = tuple(f"u{number}" for number in range(5))
LONGEST: Final = 100
"""Output tokens of an answer."""
CALL: Final = 250
"""Nano-dollars that are held for one call, about."""
DEADLINE: Final = 20.0
LEASE: Final = DEADLINE + 60.0
"""Seconds after which what limits hold for a call ends by itself."""

DEPLOYMENTS: Final = tuple(
    Deployment(
        id=f"d{number}",
        alias="fast",
        provider=f"p{number}",
        model="m",
        price=Price(input=1_000_000, output=2_000_000),
    )
    for number in range(3)
)


@dataclass(slots=True, eq=False)
class Shared:
    """What all processes of one run share.

    Attributes:
        dice: Decides whatever happens outside of the gateways.
        plugin: Makes what holds the limits, for one gateway.
        state: Another one after it was emptied.
        bills: (call, attempt) that a provider has billed.
    """

    seed: int
    dice: random.Random
    plugin: Callable[[], object]
    journal: Journal
    clock: LoopClock
    books: Books
    state: State
    deployments: Sequence[Deployment] = DEPLOYMENTS
    bills: set[tuple[str, int]] = field(default_factory=set)

    def empty_state(self) -> None:
        """All that it knew is lost."""
        self.state = State(self.clock, self.journal, self.books.ended)
