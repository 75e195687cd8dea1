"""What days cost: a weekday profile times a linear trend, in closed form, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal, TypeAlias

__all__ = ["ENOUGH", "LEAST", "Band", "Method", "Pattern", "pattern_of"]

Method: TypeAlias = Literal["trend", "run rate", "none"]

LEAST: Final = 2
"""Whole days without which nothing is said."""
ENOUGH: Final = 14
"""Whole days from which on there are weekdays and a trend: each weekday twice."""

_BURST: Final = 5.0
"""A day further above the middle than so many usual deviations stands apart from the others."""
_WEEKS: Final = 3
"""From so many of a weekday on its own middle counts: a job that runs once a week is no burst."""
_Z80: Final = 1.2815515655446004
"""Of the middle 80 % of a normal distribution."""
_STEEP: Final = 0.01
"""Of the level, by which spending usually grows or falls from day to day: a third in a month."""
_BENDS: Final = 0.3
"""Of a slope, by which it usually is another from the next month on: growth is no straight line."""
_UNSEEN: Final = 0.35
"""Relative deviation of a day that is believed until two weeks have shown what it is."""


@dataclass(frozen=True, slots=True)
class Band:
    """What is expected, and between what it is in four cases of five."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a day costs, by its number from the first day of the history on.

    Attributes:
        method: "trend", "run rate" (each day like the mean) or "none".
        days: Whole days of history; a run rate is that of the last seven.
        level, slope, middle: The trend: level + slope * (day - middle).
        profile: Factor of each weekday, that of day 0 first.
        deviation: Of a day from what was expected of it, relative to its factor.
        doubt: By what the deviation of a sum is larger than that of independent days.
        slope_deviation: How unsure the slope is.
        freedom: Days beyond what had to be estimated.
        bursts: Days far above the others.
        extra, extra_variance: What bursts add to any day, as often as they have come again.
    """

    method: Method
    days: int
    level: float = 0.0
    slope: float = 0.0
    middle: float = 0.0
    profile: tuple[float, ...] = (1.0,) * 7
    deviation: float = 0.0
    doubt: float = 1.0
    slope_deviation: float = 0.0
    freedom: int = 1
    bursts: int = 0
    extra: float = 0.0
    extra_variance: float = 0.0

    def day(self, number: float) -> float:
        """What that day is expected to cost, without bursts."""
        factor = self.profile[int(number) % 7]
        return max(self.level + self.slope * (number - self.middle), 0.0) * factor

    def sum(self, days: Sequence[tuple[int, float]]) -> Band:
        """What these days will cost together: (number, how much of the day)."""
        expected = sum(self.day(number) * part for number, part in days)
        weights = [self.profile[number % 7] * part for number, part in days]
        noise = sum(weight * weight for weight in weights)
        # Each weekday's factor was learned from as many days as there were of it.
        by_weekday = [0.0] * 7
        for (number, _), weight in zip(days, weights, strict=True):
            by_weekday[number % 7] += weight
        if self.method == "trend":
            learned = sum(weight * weight for weight in by_weekday) / max(self.days / 7, 1.0)
        else:
            learned = sum(weights) ** 2 / min(self.days, 7)
        lever = sum(
            weight * (number - self.middle) for (number, _), weight in zip(days, weights, strict=True)
        )
        variance = self.deviation**2 * (noise + learned) * self.doubt + (self.slope_deviation * lever) ** 2
        if self.bursts:
            whole = sum(part for _, part in days)
            expected += self.extra * whole
            variance += self.extra_variance * whole + (self.extra * whole) ** 2 / self.bursts
        half = _quantile(self.freedom) * math.sqrt(variance)
        return Band(expected, max(expected - half, 0.0), expected + half)


def pattern_of(costs: Sequence[float]) -> Pattern:
    """Learn from the cost of whole days, oldest first.

    From two weeks on a weekday profile times a linear trend; before that the mean, with a wide
    band. Days far above the others are taken down to where the others could be, and what they
    were above that is expected to come again as often as it has.
    """
    days = len(costs)
    if days < LEAST:
        return Pattern("none", days)
    calm = _without_bursts(costs)
    found = _run_rate(calm) if days < ENOUGH else _trend(calm)
    above = [cost - rest for cost, rest in zip(costs, calm, strict=True) if cost > rest]
    if not above:
        return found
    # The first burst was a surprise: so many of them have come again.
    again = (len(above) - 1) / len(above)
    extra = again * sum(above) / days
    # Of two weeks one cannot tell whether it comes again.
    usual = (1.0 if days < ENOUGH else again) * sum(one * one for one in above) / days
    return replace(found, bursts=len(above), extra=extra, extra_variance=max(usual - extra * extra, 0.0))


def _run_rate(costs: Sequence[float]) -> Pattern:
    days = len(costs)
    costs = costs[-7:]  # a whole week has each weekday once
    mean = sum(costs) / len(costs)
    seen = sum((cost - mean) ** 2 for cost in costs) / (len(costs) - 1)
    # Few days look more alike than days are.
    believed = (_UNSEEN * mean) ** 2
    share = days / ENOUGH
    deviation = math.sqrt(max(seen, share * seen + (1 - share) * believed))
    return Pattern(
        "run rate",
        days,
        level=mean,
        middle=(days - 1) / 2,
        deviation=deviation,
        doubt=2.0,
        freedom=len(costs) - 1,
    )


def _trend(costs: Sequence[float]) -> Pattern:
    days = len(costs)
    middle = (days - 1) / 2
    level, slope, slope_deviation = sum(costs) / days, 0.0, 0.0
    profile = [1.0] * 7
    spread = sum((number - middle) ** 2 for number in range(days))
    for _ in range(3):  # profile and trend are each learned without the other's part
        profile = _profile(costs, [max(level + slope * (number - middle), 0.0) for number in range(days)])
        weight = sum(profile[number % 7] ** 2 for number in range(days))
        level = (
            sum(profile[number % 7] * cost for number, cost in enumerate(costs)) / weight if weight else 0.0
        )
        moved = sum(
            profile[number % 7] * (number - middle) * (cost - level * profile[number % 7])
            for number, cost in enumerate(costs)
        )
        lever = sum((profile[number % 7] * (number - middle)) ** 2 for number in range(days))
        slope = moved / lever if lever else 0.0
    fitted = [(level + slope * (number - middle)) * profile[number % 7] for number in range(days)]
    off = [cost - fit for cost, fit in zip(costs, fitted, strict=True)]
    scale = [max(profile[number % 7], 0.1) for number in range(days)]
    off = [one / by for one, by in zip(off, scale, strict=True)]
    freedom = days - 8
    deviation = math.sqrt(sum(one * one for one in off) / freedom)
    if deviation and level > 0:
        # A slope that could as well be chance is believed in part: what days show of it, against
        # how steep slopes usually are.
        seen, usual = deviation**2 / spread, (_STEEP * level) ** 2
        slope *= usual / (usual + seen)
        slope_deviation = math.hypot(math.sqrt(usual * seen / (usual + seen)), _BENDS * slope)
    return Pattern(
        "trend",
        days,
        level=level,
        slope=slope,
        middle=middle,
        profile=tuple(profile),
        deviation=deviation,
        doubt=_doubt(off),
        slope_deviation=slope_deviation,
        freedom=freedom,
    )


def _profile(costs: Sequence[float], trend: Sequence[float]) -> list[float]:
    """Factor of each weekday beside the trend; of few weeks nearer to 1 than they say. Their mean is 1."""
    factors = []
    for weekday in range(7):
        spent = sum(costs[weekday::7])
        expected = sum(trend[weekday::7])
        weeks = len(costs[weekday::7])
        raw = spent / expected if expected > 0 else 1.0
        factors.append((raw * weeks + 0.5) / (weeks + 0.5))
    mean = sum(factors) / 7
    return [factor / mean for factor in factors] if mean > 0 else [1.0] * 7


def _without_bursts(costs: Sequence[float]) -> list[float]:
    middle = _median(costs)
    if not middle:
        return list(costs)
    weekdays = [costs[weekday::7] for weekday in range(7)]
    middles = [max(middle, _median(some)) if len(some) >= _WEEKS else middle for some in weekdays]
    usual = 1.4826 * _median([abs(cost - middles[number % 7]) for number, cost in enumerate(costs)])
    most = [one + _BURST * max(usual, 0.25 * one) for one in middles]
    return [min(cost, most[number % 7]) for number, cost in enumerate(costs)]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _doubt(off: Sequence[float]) -> float:
    """Days that follow each other are alike: by what that makes the variance of their sum larger."""
    whole = sum(one * one for one in off)
    if not whole:
        return 1.0
    alike = sum(one * two for one, two in pairwise(off)) / whole
    alike = min(max(alike, 0.0), 0.6)
    return (1 + alike) / (1 - alike)


def _quantile(freedom: int) -> float:
    """Of Student's distribution, by its usual expansion; right within 3 % from two degrees on."""
    z = _Z80
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
