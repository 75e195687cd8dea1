"""What is left of a group of deployments when some are dropped, remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate_plugins.decisions import Drop
from llmgate_plugins.selections import Dropped
from llmgate_plugins.types import Deployment

__all__ = ["Deployments", "Narrowing"]

Deployments = Sequence[Deployment]


class Narrowing:
    """What is left of a group when some are dropped, worked out once for as long as neither changes.

    So a gateway of thousands of deployments, of which some are ejected, goes through all
    of them when that changes, and not at every call. Threads may do the same work twice.
    """

    MOST: Final = 256

    def __init__(self) -> None:
        self._left: dict[tuple[int, int], tuple[Deployments, Drop, str, Deployments, Dropped]] = {}
        self._joined: dict[tuple[int, int], tuple[Dropped, Dropped, Dropped]] = {}
        self._ids: dict[int, tuple[Deployments, tuple[str, ...]]] = {}

    def ids(self, deployments: Deployments) -> tuple[str, ...]:
        """Their ids, in order."""
        known = self._ids.get(id(deployments))
        if known is not None and known[0] is deployments:
            return known[1]
        ids = tuple([deployment.id for deployment in deployments])
        if len(self._ids) >= self.MOST:
            self._ids.clear()
        self._ids[id(deployments)] = (deployments, ids)
        return ids

    def without(self, deployments: Deployments, drop: Drop, plugin: str) -> tuple[Deployments, Dropped]:
        """(those left, id -> (reason, plugin) of those that were among them and are not)."""
        key = (id(deployments), id(drop))
        known = self._left.get(key)
        if known is not None and known[0] is deployments and known[1] is drop and known[2] == plugin:
            return known[3], known[4]
        reasons = drop.reasons
        left = tuple([one for one in deployments if one.id not in reasons])
        dropped = Dropped({one.id: (reasons[one.id], plugin) for one in deployments if one.id in reasons})
        if len(self._left) >= self.MOST:
            self._left.clear()
        self._left[key] = (deployments, drop, plugin, left, dropped)
        return left, dropped

    def joined(self, before: Dropped, dropped: Dropped) -> Dropped:
        """What one plugin dropped, and then another."""
        key = (id(before), id(dropped))
        known = self._joined.get(key)
        if known is not None and known[0] is before and known[1] is dropped:
            return known[2]
        both = Dropped({**before, **dropped})
        if len(self._joined) >= self.MOST:
            self._joined.clear()
        self._joined[key] = (before, dropped, both)
        return both
