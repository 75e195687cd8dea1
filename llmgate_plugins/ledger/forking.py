"""What holds still while the process forks, so that the child finds it whole."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["HoldsStill", "hold_over_forks"]


class HoldsStill(Protocol):
    """Somebody who wants to know of forks."""

    def before_fork(self) -> None:
        """Hold still."""

    def after_fork_in_parent(self) -> None:
        """Go on as before."""

    def after_fork_in_child(self) -> None:
        """Begin anew: no thread but the forking one is there any more."""


_known: weakref.WeakSet[HoldsStill] = weakref.WeakSet()
_forking: list[HoldsStill] = []


def hold_over_forks(one: HoldsStill) -> None:
    """Tell it of every fork from now on, as long as somebody else holds on to it."""
    _known.add(one)


def _before_fork() -> None:
    _forking[:] = sorted(_known, key=id)
    for one in _forking:
        one.before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
