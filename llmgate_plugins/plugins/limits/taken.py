"""What limits hold for one call: a lease per attempt, and what is settled of it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate_plugins.context import Call, StashKey
from llmgate_plugins.plugins.limits.counts import Count
from llmgate_plugins.services import Lease, Refusal

__all__ = ["TAKEN", "Taken", "taken_of"]


class Taken:
    """What one call has taken.

    Attributes:
        leases: Number of an attempt -> its lease and the counts it is of.
        counted: Counts that have this call already -> the attempt that took it.
        asked: Number of an attempt -> a lease of which nobody has said whether it was granted.
        left: Counts for whose sake the call goes on elsewhere.
        refused: Key -> how an attempt was refused.
        sent: Whether an attempt was sent.
        waited: Seconds that it has waited for a slot between two attempts.
    """

    __slots__ = ("asked", "counted", "leases", "left", "refused", "sent", "waited")

    def __init__(self) -> None:
        self.leases: dict[int, tuple[Lease, Sequence[Count]]] = {}
        self.counted: dict[Count, int] = {}
        # Seldom needed, and so not made before they are.
        self.asked: dict[int, Lease] | None = None
        self.left: frozenset[Count] = frozenset()
        self.refused: dict[str, Refusal] | None = None
        self.sent = False
        self.waited = 0.0

    def ask(self, number: int, lease: Lease) -> None:
        """Nobody knows yet whether this is granted."""
        if self.asked is None:
            self.asked = {}
        self.asked[number] = lease

    def told(self, number: int) -> None:
        """Now it is known."""
        if self.asked is not None:
            self.asked.pop(number, None)

    def grant(self, number: int, lease: Lease, counts: Sequence[Count]) -> None:
        """All of it is held for this attempt."""
        self.leases[number] = lease, counts
        for count in counts:
            if count.rule.once:
                self.counted[count] = number

    def refuse(self, refusal: Refusal) -> None:
        """Too little was left of it."""
        if self.refused is None:
            self.refused = {}
        self.refused[refusal.key] = refusal

    def leave(self, count: Count) -> None:
        """The call goes on elsewhere for the sake of this count."""
        self.left |= {count}

    def free(self, number: int, count: Count) -> None:
        """This attempt has it no longer: a slot is free again, and what was not sent was no request."""
        if self.counted.get(count) == number:
            del self.counted[count]


def taken_of(call: Call) -> Taken:
    """What this call has taken; nothing so far."""
    taken = call.stashed(TAKEN)
    if taken is None:
        taken = call.stash[TAKEN] = Taken()
    return taken


TAKEN: Final[StashKey[Taken]] = StashKey("limits")
"""What limits hold for a call."""
