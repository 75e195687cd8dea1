"""What was worked out for a group of deployments, remembered while the group is the same object."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from llmgate_plugins.types import Deployment

__all__ = ["PerGroup"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class PerGroup(Generic[K, T]):
    """What was worked out for a group of deployments, for as long as the group is the same object.

    So a gateway of thousands of deployments goes through them once. Threads may do the
    same work twice.

    Args:
        make: Works it out for a group and a key.
    """

    MOST: Final = 256

    def __init__(self, make: Callable[[Sequence[Deployment], K], T]) -> None:
        self._make = make
        self._known: dict[tuple[int, K], tuple[Sequence[Deployment], T]] = {}

    def of(self, deployments: Sequence[Deployment], key: K) -> T:
        """What `make` says of these, remembered."""
        place = (id(deployments), key)
        known = self._known.get(place)
        if known is not None and known[0] is deployments:
            return known[1]
        made = self._make(deployments, key)
        if type(deployments) is tuple:  # what can change is looked at each time
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[place] = (deployments, made)
        return made
