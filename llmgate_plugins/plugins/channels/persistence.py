"""Tries again what may work later, ever more patiently."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins.alerts import TEST, Alert
from llmgate_plugins.errors import AlertUndelivered
from llmgate_plugins.plugins.arguments import positive, whole
from llmgate_plugins.services import Services

__all__ = ["Persistence"]

LONGEST_WAIT: Final = 600.0
"""Seconds; a longer wait is not taken from anybody."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How often, and how long between two tries.

    Half of each wait is random ("equal jitter"), so that many processes do not come back
    together. What the other side asks to wait is waited, ten minutes at the most.

    Attributes:
        attempts: Tries in all.
        first: Seconds before the second; each further wait is twice as long.
        most: The longest wait, in seconds.

    Raises:
        ValueError: A number is out of its range.
    """

    attempts: int = 6
    first: float = 1.0
    most: float = 60.0
    _random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def __post_init__(self) -> None:
        whole("attempts", self.attempts)
        positive("first", self.first)
        positive("most", self.most)

    def deliver(self, send: Callable[[], None], alert: Alert, services: Services) -> None:
        """Send until it works; an alert that only tries out a channel is sent once.

        Raises:
            AlertUndelivered: It cannot work, or the last try failed as well.
        """
        if alert.kind == TEST:
            return send()
        for number in range(1, self.attempts + 1):
            try:
                return send()
            except AlertUndelivered as error:
                if not error.passing:
                    raise
                if number == self.attempts:
                    times = f"; tried {number} times" if number > 1 else ""
                    raise AlertUndelivered(f"{error}{times}", passing=True) from error
                services.sleeper.sleep(self._wait(number, error.wait))
        return None

    def _wait(self, number: int, asked: float | None) -> float:
        wait = min(self.first * 2.0 ** (number - 1), self.most)
        wait = self._random.uniform(wait / 2, wait)
        return wait if asked is None else max(wait, min(asked, LONGEST_WAIT))
