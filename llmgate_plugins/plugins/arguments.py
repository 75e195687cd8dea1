"""Refuses what a plugin cannot be made with, in words that name the argument."""

from __future__ import annotations

import math

__all__ = ["non_negative", "positive", "whole"]


def whole(name: str, value: object, *, least: int = 1) -> int:
    """The value, if it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def positive(name: str, value: object) -> float:
    """The value, if it is a finite number above 0."""
    number = non_negative(name, value)
    if number == 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return number


def non_negative(name: str, value: object) -> float:
    """The value, if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number, 0 or more, not {value!r}")
    return float(value)
