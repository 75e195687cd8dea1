"""Intervals for rates and means: for one look at the figures, and for looking as often as one likes."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final, NamedTuple

__all__ = ["Interval", "Z", "difference", "mean_bounds", "patience", "rate_bounds", "wilson", "z_of"]

_STEPS: Final = 60
"""Halvings of a span between 0 and 1: as exact as a float."""


class Interval(NamedTuple):
    """Where something is, with some confidence."""

    low: float
    high: float


def z_of(confidence: float) -> float:
    """How many standard errors a two-sided interval of this confidence (0.95) is to either side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


Z: Final = z_of(0.95)
"""Of a confidence of 95 %."""


def wilson(successes: float, number: float, z: float) -> Interval:
    """Where a rate is: Wilson's score interval (Wilson 1927, JASA 22:209).

    Args:
        successes, number: Also fractions, where what was counted is worth less than it is many.
    """
    if number <= 0:
        return Interval(0.0, 1.0)
    share, spread = successes / number, z * z / number
    middle = share + spread / 2
    half = z * math.sqrt(max(share * (1 - share), 0.0) / number + spread / (4 * number))
    return Interval(max((middle - half) / (1 + spread), 0.0), min((middle + half) / (1 + spread), 1.0))


def difference(one: float, of_one: Interval, other: float, of_other: Interval) -> Interval:
    """Where `other - one` is, from where each of them is.

    The squares of their distances add up: Newcombe 1998 (Statistics in Medicine 17:873, method
    10) for rates, Zou and Donner 2008 (ibid. 27:1693) for anything else.
    """
    middle = other - one
    return Interval(
        middle - math.hypot(other - of_other.low, of_one.high - one),
        middle + math.hypot(of_other.high - other, one - of_one.low),
    )


def rate_bounds(successes: int, number: int, alpha: float) -> Interval:
    """Where a rate is, however often one looks.

    The true rate is outside at any time with a probability of `alpha` at most. Exact, by Ville's
    inequality for a mixture of likelihoods with the prior Beta(1/2, 1/2): Robbins 1970 (Annals
    of Mathematical Statistics 41:1397); Howard, Ramdas, McAuliffe, Sekhon 2021 (Annals of
    Statistics 49:1055).
    """
    if number <= 0:
        return Interval(0.0, 1.0)
    successes = min(successes, number)  # counters of many processes are not read at one moment
    failures = number - successes
    evidence = _log_beta(successes + 0.5, failures + 0.5) - _log_beta(0.5, 0.5) - math.log(1 / alpha)

    def outside(rate: float) -> bool:
        likelihood = 0.0
        if successes:
            likelihood += successes * math.log(rate) if rate > 0 else -math.inf
        if failures:
            likelihood += failures * math.log1p(-rate) if rate < 1 else -math.inf
        return evidence > likelihood

    share = successes / number
    return Interval(_edge(outside, 0.0, share), _edge(outside, 1.0, share))


def patience(number: float, alpha: float, expected: float = 1_000.0) -> float:
    """How many standard errors an interval must be to either side, to hold however often one looks.

    An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, Annals of
    Statistics 52:2613, theorem 2.2): about half as much again as for one look.

    Args:
        number: Observations so far.
        alpha: 1 - confidence.
        expected: For how many observations it should be narrowest.
    """
    if number <= 0:
        return math.inf
    odds = -2 * math.log(alpha)
    rho2 = (odds + math.log(odds + 1)) / expected
    grown = number * rho2 + 1
    return math.sqrt(2 * grown / (number * rho2) * math.log(math.sqrt(grown) / alpha))


def mean_bounds(number: int, total: float, squares: float, alpha: float) -> Interval:
    """Where a mean is, however often one looks, from a sum and a sum of squares; see `patience`."""
    if number < 2:
        return Interval(-math.inf, math.inf)
    mean = total / number
    variance = max(squares / number - mean * mean, 0.0) * number / (number - 1)
    half = patience(number, alpha) * math.sqrt(variance / number)
    return Interval(mean - half, mean + half)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _edge(outside: Callable[[float], bool], far: float, near: float) -> float:
    """Where what is outside begins, on the way from `near`, which is not, to `far`."""
    if not outside(far):
        return far
    for _ in range(_STEPS):
        middle = (far + near) / 2
        if outside(middle):
            far = middle
        else:
            near = middle
    return far
