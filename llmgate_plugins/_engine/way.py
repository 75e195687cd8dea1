"""The deployments of an alias that a call goes along: those it has tried, and those it has not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

from llmgate_plugins.types import AttemptReason, Deployment

__all__ = ["Way"]


class Way:
    """Best first; true while there is one to try.

    Args:
        left: Shared with other calls, and so never changed.
        in_order: Whether they are tried in this order; else the host picks.

    Attributes:
        reason: Why the next attempt is made; None for the first of this alias.
    """

    __slots__ = ("_again", "_in_order", "_left", "_place", "_tried", "reason")

    def __init__(self, left: Sequence[Deployment], in_order: bool) -> None:
        self._left = left
        self._in_order = in_order
        self._place = 0
        self._tried: dict[str, Deployment] = {}
        self._again: Deployment | None = None
        self.reason: AttemptReason | None = None

    def __bool__(self) -> bool:
        return self._again is not None or self._place < len(self._left)

    def __iter__(self) -> Iterator[Deployment]:
        """Those that have not been tried, without copying them: there may be thousands."""
        return islice(self._left, self._place, None)

    def __len__(self) -> int:
        """How many have not been tried."""
        return len(self._left) - self._place

    @property
    def untried(self) -> Sequence[Deployment]:
        """Those that have not been tried, as they are now, not copied either."""
        return _Rest(self._left, self._place)

    @property
    def is_settled(self) -> bool:
        """Whether `next` knows who is next; else the host picks."""
        return self._in_order or self._again is not None

    @property
    def has_next(self) -> bool:
        """Whether there is an untried one of which `next` knows."""
        return self._in_order and self._place < len(self._left)

    def next(self) -> Deployment:
        """Take the one to be tried again, else the best untried one."""
        one, self._again = self._again, None
        if one is None:
            one = self._left[self._place]
            self._place += 1
            self._tried[one.id] = one
        return one

    def take(self, deployment: Deployment) -> None:
        """Take this one."""
        self._left = [one for one in self if one is not deployment]
        self._place = 0
        self._tried[deployment.id] = deployment

    def turn_back(self, id: str) -> None:
        """Try this one again next, if this call has tried it; else the one before all others."""
        self._again = self._tried.get(id) or next(reversed(self._tried.values()))
        self.reason = "retry"

    def keep(self, among: frozenset[str]) -> None:
        """Leave all other untried ones out."""
        self._left = [one for one in self if one.id in among]
        self._place = 0


class _Rest(Sequence[Deployment]):
    """What is left of a sequence from some place on."""

    __slots__ = ("_left", "_place")

    def __init__(self, left: Sequence[Deployment], place: int) -> None:
        self._left = left
        self._place = place

    def __len__(self) -> int:
        return len(self._left) - self._place

    def __iter__(self) -> Iterator[Deployment]:
        return islice(self._left, self._place, None)

    @overload
    def __getitem__(self, index: int) -> Deployment: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Deployment]: ...
    def __getitem__(self, index: int | slice) -> Deployment | Sequence[Deployment]:
        if isinstance(index, slice) or index < 0:
            return tuple(self)[index]
        return self._left[self._place + index]
