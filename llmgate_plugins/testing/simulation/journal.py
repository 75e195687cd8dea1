"""What a run keeps of what happened: the trace, and every promise that did not hold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from llmgate_plugins.testing.simulation.options import Violation

__all__ = ["Journal"]

MOST_VIOLATIONS = 50
"""A broken plugin breaks every call alike; more of it tells nobody anything."""


class Journal:
    """The trace of a run in order, and its violations.

    Args:
        monotonic: Seconds, of the run's clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begun = monotonic()
        self._lines: list[tuple[Any, ...]] = []
        self.violations: list[Violation] = []

    def now(self) -> float:
        """Virtual seconds since the run began."""
        return self._monotonic() - self._begun

    def note(self, *what: Any) -> None:
        """Something was sent, decided or ended. Plain values only."""
        self._lines.append((self._monotonic() - self._begun, *what))

    def violated(self, invariant: str, told: str) -> None:
        """A promise did not hold."""
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(Violation(invariant, self.now(), told))

    def check(self, holds: bool, invariant: str, told: Callable[[], str]) -> None:
        """A promise holds, or is noted as broken."""
        if not holds:
            self.violated(invariant, told())

    def lines(self) -> tuple[str, ...]:
        """The trace as text."""
        return tuple(" ".join((f"{line[0]:.6f}", *map(str, line[1:]))) for line in self._lines)

    def digest(self) -> str:
        """A hash of the trace: the same for the same things in the same order at the same time."""
        return hashlib.blake2b(repr(self._lines).encode(), digest_size=16).hexdigest()
