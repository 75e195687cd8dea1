"""What something costs in calls of an empty function: the same on a fast machine, a slow and a busy one."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["in_empty_calls"]


def in_empty_calls(work: Callable[[], object], *, number: int = 5_000, rounds: int = 7) -> float:
    """How many calls of an empty Python function cost as much processor time as one of `work`.

    Both are measured in turn, and the least of each is taken. An empty call is about 50 ns.
    """
    best = {work: float("inf"), _empty: float("inf")}
    for _ in range(rounds):
        for one in best:
            best[one] = min(best[one], _seconds(one, number))
    return best[work] / best[_empty]


def _empty() -> None:
    """Nothing."""


def _seconds(work: Callable[[], object], number: int) -> float:
    began = time.thread_time()
    for _ in range(number):
        work()
    return time.thread_time() - began
