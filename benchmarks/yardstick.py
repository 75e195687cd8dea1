"""How fast this machine is just now, so that a target in microseconds means the same everywhere."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Final

__all__ = ["AS_TARGETS_MEAN_IT", "pace"]

AS_TARGETS_MEAN_IT: Final = 5.4
"""Microseconds of CPU that one `_measure` takes where the targets in microseconds were set.

Nobody measured it there. But the engine alone took 15.5 of them there when it was first measured
(commit aab4cca), and run again in turn with `_measure` it takes 2.86 times as long, on one machine
as on another: 15.5 / 2.86.
"""
TIMES: Final = 300


class _Noun:
    __slots__ = ("amounts", "name", "number", "parts")

    def __init__(self, name: str, number: int, parts: list[int], amounts: dict[str, int]) -> None:
        self.name = name
        self.number = number
        self.parts = parts
        self.amounts = amounts


def _told(noun: _Noun, more: int = 0, **others: Any) -> int:
    return noun.number + more + len(others)


def _steps(noun: _Noun) -> Generator[_Noun, int, int]:
    answer = yield noun
    return _told(noun, answer)


def _all_steps(noun: _Noun) -> Generator[_Noun, int, None]:
    noun.number = yield from _steps(noun)


def _measure(number: int) -> int:
    """What calls of a gateway are made of: small objects, frames, generators, dicts, text."""
    total = 0
    for name in ("first", "second", "third", "fourth"):
        noun = _Noun(name, number, [number], {name: number})
        steps = _all_steps(noun)
        next(steps)
        try:
            steps.send(_told(noun, 1, kind=name))
        except StopIteration:
            total += noun.number
        if noun.amounts.get(noun.name) is not None and isinstance(noun.parts, list):
            noun.amounts = {**noun.amounts, "total": total}
        total += len(f"{noun.name}-{noun.number:04x}")
    return total


def pace() -> float:
    """How many times as long this machine takes now as the one for which targets were set."""
    begin = time.thread_time()
    for number in range(TIMES):
        _measure(number)
    return (time.thread_time() - begin) / TIMES * 1e6 / AS_TARGETS_MEAN_IT
