"""The waiting line of one limit: how much of it stands before a call, by class of priority."""

from __future__ import annotations

from typing import Final

__all__ = ["LANES", "Line"]

LANES: Final = 3
"""Priorities 0 and 1, priority 2, priority 3. A higher lane goes first."""


class Line:
    """Counts what has joined and what has gone, so that a place is worth one subtraction.

    A place is a position in units of the limit (requests, tokens, slots): where the call's
    own amount begins, counted from the first that ever joined its lane. Virtual scheduling:
    nobody is moved when the line moves on.
    """

    __slots__ = ("_gone", "_issued")

    def __init__(self) -> None:
        self._issued = [0] * LANES
        self._gone = [0] * LANES

    @property
    def waiting(self) -> int:
        """How much waits in all lanes."""
        return sum(self._issued) - sum(self._gone)

    def join(self, lane: int, amount: int) -> int:
        """A place at the end of a lane."""
        start = self._issued[lane]
        self._issued[lane] = start + amount
        return start

    def ahead(self, lane: int, start: int | None) -> int:
        """How much must go before this place; None for one who would join now.

        Less than 0 by what has gone from behind it: that is booked as used meanwhile, and
        does not stand in the way of those who were there before.
        """
        issued, gone = self._issued, self._gone
        ahead = (issued[lane] if start is None else start) - gone[lane]
        for higher in range(lane + 1, LANES):
            ahead += issued[higher] - gone[higher]
        return ahead

    def go(self, lane: int, amount: int) -> None:
        """So much of a lane waits no longer."""
        self._gone[lane] += amount

    def leave(self, lane: int, start: int, amount: int) -> None:
        """A place is given back; at the very end of a lane, it was never there."""
        if start + amount == self._issued[lane]:
            self._issued[lane] = start
        else:
            self._gone[lane] += amount
