"""What is left of a group of deployments when some are dropped or put first, remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, overload

from llmgate_plugins.decisions import Drop
from llmgate_plugins.selections import Dropped
from llmgate_plugins.types import Deployment

__all__ = ["Deployments", "Narrowing", "Ranked", "check"]

Deployments = Sequence[Deployment]


class Narrowing:
    """What is left of a group when some are dropped, worked out once for as long as neither changes.

    So a gateway of thousands of deployments, of which some are ejected, goes through all
    of them when that changes, and not at every call. Threads may do the same work twice.
    """

    MOST: Final = 256
    MOST_MEMBERS: Final = 262_144
    """Groups, and deployments of all groups together, that are kept worked out."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._members = 0

    def ids(self, deployments: Deployments) -> tuple[str, ...]:
        """Their ids, in order."""
        key = (id(deployments),)
        known = self._known.get(key)
        if known is not None and known[0] is deployments:
            return known[1]  # type: ignore[no-any-return]  # as kept below
        ids = tuple([deployment.id for deployment in deployments])
        self._keep(key, (deployments, ids), len(ids))
        return ids

    def without(self, deployments: Deployments, drop: Drop, plugin: str) -> tuple[Deployments, Dropped]:
        """(those left, id -> (reason, plugin) of those that were among them and are not)."""
        key = (id(deployments), id(drop))
        known = self._known.get(key)
        if known is not None and known[0] is deployments and known[1] is drop and known[2] == plugin:
            return known[3], known[4]
        reasons = drop.reasons
        left = tuple([one for one in deployments if one.id not in reasons])
        dropped = Dropped({one.id: (reasons[one.id], plugin) for one in deployments if one.id in reasons})
        self._keep(key, (deployments, drop, plugin, left, dropped), len(deployments))
        return left, dropped

    def joined(self, before: Dropped, dropped: Dropped) -> Dropped:
        """What one plugin dropped, and then another."""
        key = ("joined", id(before), id(dropped))
        known = self._known.get(key)
        if known is not None and known[0] is before and known[1] is dropped:
            return known[2]  # type: ignore[no-any-return]  # as kept below
        both = Dropped({**before, **dropped})
        self._keep(key, (before, dropped, both), len(both))
        return both

    def members(self, deployments: Deployments) -> frozenset[Deployment]:
        """All of them, to look one up."""
        key = ("members", id(deployments))
        known = self._known.get(key)
        if known is not None and known[0] is deployments:
            return known[1]  # type: ignore[no-any-return]  # as kept below
        members = frozenset(deployments)
        self._keep(key, (deployments, members), len(members))
        return members

    def completed(self, deployments: Deployments, order: Deployments) -> Deployments:
        """These in this order, and those that it leaves out behind, as they stood.

        Raises:
            ValueError: It names one that is not among them.
        """
        if order is deployments:
            return deployments
        key = ("completed", id(deployments), id(order))
        known = self._known.get(key)
        if known is not None and known[0] is deployments and known[1] is order:
            return known[2]  # type: ignore[no-any-return]  # as kept below
        places = dict.fromkeys(order)
        check(places, frozenset(deployments))
        places.update(dict.fromkeys(deployments))
        ordered = tuple(places)
        if type(order) is tuple:  # what can change is looked at each time
            self._keep(key, (deployments, order, ordered), len(ordered))
        return ordered

    def _keep(self, key: tuple[Any, ...], value: tuple[Any, ...], members: int) -> None:
        if len(self._known) >= self.MOST or self._members > self.MOST_MEMBERS:
            self._known.clear()
            self._members = 0
        self._members += members
        self._known[key] = value


def check(
    order: Iterable[Deployment], members: Collection[Deployment], dropped: Collection[str] = ()
) -> None:
    """Raises `ValueError` if one of them is no member, or was dropped; `TypeError` for an id."""
    for one in order:
        if one not in members or one.id in dropped:
            if isinstance(one, str):
                raise TypeError(f"ranked the text {one!r}; rank the deployments themselves, not their ids")
            name = getattr(one, "id", one)
            raise ValueError(f"ranked {name!r}, which is not among the candidates")


class Ranked(Sequence[Deployment]):
    """A few deployments that were put first, and behind them the rest of a large group, not copied.

    Args:
        first: Those put first, each once, all of the group.
        group: All, in the order in which the rest follows.
    """

    __slots__ = ("_all", "_group", "first")

    def __init__(self, first: tuple[Deployment, ...], group: Deployments) -> None:
        self.first = first
        self._group = group
        self._all: tuple[Deployment, ...] | None = None

    def __len__(self) -> int:
        return len(self._group)

    def __iter__(self) -> Iterator[Deployment]:
        first = self.first
        yield from first
        for one in self._group:
            if one not in first:
                yield one

    @overload
    def __getitem__(self, index: int) -> Deployment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Deployment, ...]: ...
    def __getitem__(self, index: int | slice) -> Deployment | tuple[Deployment, ...]:
        if isinstance(index, int) and 0 <= index < len(self.first):
            return self.first[index]
        if self._all is None:  # a call that got so far has had worse to wait for
            self._all = tuple(self)
        return self._all[index]
