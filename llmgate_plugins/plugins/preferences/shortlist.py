"""Of a large group the few deployments that a call looks at: the best found so far, and others by lot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate_plugins.draws import Lots
from llmgate_plugins.types import Deployment

__all__ = ["FEW", "Shortlist"]

FEW: Final = 10
"""Up to so many deployments, each call looks at all of them."""
KEPT: Final = 6
NAMED: Final = 3
DRAWN: Final = 2
"""Of more, it looks at six: at some that a preference names, and at the best of those that were
looked at before; and at two drawn by lot."""


class Shortlist:
    """The best of a group, found by looking at a few at every call.

    Whoever looks at two drawn by lot and at the best remembered finds what is good among
    thousands soon, at a cost that does not grow with their number (Mitzenmacher, Prabhakar and
    Shah, "Load balancing with memory", FOCS 2002).
    """

    __slots__ = ("_best", "group")

    def __init__(self, group: Sequence[Deployment], _key: None = None) -> None:
        self.group = group
        self._best: tuple[Deployment, ...] = ()

    def candidates(self, lots: Lots, named: Sequence[Deployment] = ()) -> Sequence[Deployment]:
        """Those to look at, in the order of the group where it is small.

        Args:
            named: Some of the group, of which the first are among them.
        """
        group = self.group
        number = len(group)
        if number <= FEW:
            return group
        found = dict.fromkeys(named[:NAMED])
        for one in self._best:
            if len(found) >= KEPT:
                break
            found[one] = None
        for _ in range(DRAWN):
            found[group[int(lots.next() * number)]] = None
        return tuple(found)

    def keep(self, ordered: Sequence[Deployment]) -> None:
        """Remember the best of those that were looked at, and one that is being tried."""
        if len(self.group) > FEW:
            self._best = tuple(ordered[:KEPT])
