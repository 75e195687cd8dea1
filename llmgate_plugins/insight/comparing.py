"""What the calls of one arm come to, as estimates that know how sure they are."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from llmgate_plugins.intervals import Interval, difference, wilson

__all__ = ["UNKNOWN", "Better", "Difference", "Estimate", "Sample", "compared"]

Better = Literal["higher", "lower"]
Verdict = Literal["better", "worse", "alike", "too few"]

POWER_Z: Final = 0.8416212335729143
"""Standard errors beyond an interval's edge at which 80 of 100 such experiments find a difference."""


class Estimate(NamedTuple):
    """A figure, and where the true one is. `value` is None where nothing was counted."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> Interval | None:
        """Both ends, if both are known."""
        if self.low is None or self.high is None:
            return None
        return Interval(self.low, self.high)


UNKNOWN: Final = Estimate()


class Difference(NamedTuple):
    """How far an arm is from control.

    Attributes:
        value, low, high: The arm less control.
        verdict: "better" or "worse" where the interval says so; "alike": a difference of the named
            size is ruled out; "too few": nothing can be told yet.
        needed: Of "too few": so many more calls of this arm, control growing alike, until a
            difference of the named size would be found in 80 of 100 such experiments.
    """

    value: float
    low: float
    high: float
    verdict: Verdict
    needed: int | None = None


class _Sums:
    """Of one unit: how many, and the sums of what is averaged over them."""

    __slots__ = ("calls", "cost", "rated", "score", "successes", "tokens")

    def __init__(self) -> None:
        self.calls = self.successes = self.cost = self.tokens = self.rated = 0
        self.score = 0.0


@dataclass(slots=True)
class Sample:
    """The calls of one arm.

    Calls of one unit resemble each other, so what is counted is units: variances are those of the
    units' sums (Cochran 1977, "Sampling Techniques", 6.4: the ratio estimator), which comes
    to the usual ones where each unit has one call.
    """

    units: dict[str, _Sums] = field(default_factory=dict)
    times: list[tuple[float, str]] = field(default_factory=list)
    calls: int = 0
    successes: int = 0
    rated: int = 0
    _sorted: array[float] | None = None

    def add(
        self, unit: str, *, success: bool, cost: int, tokens: int, seconds: float, score: float | None
    ) -> None:
        """A call that was answered or failed."""
        sums = self.units.get(unit)
        if sums is None:
            sums = self.units[unit] = _Sums()
        sums.calls += 1
        sums.successes += success
        sums.cost += cost
        sums.tokens += tokens
        self.calls += 1
        self.successes += success
        if success:
            self.times.append((seconds, unit))
        if score is not None:
            sums.rated += 1
            sums.score += score
            self.rated += 1

    def success(self, width: float) -> Estimate:
        """The share of calls that succeeded: Wilson's interval, for as many as the calls are worth."""
        if not self.calls:
            return Estimate()
        share = self.successes / self.calls
        return Estimate(share, *wilson(share * self._worth(share), self._worth(share), width))

    def cost(self, width: float) -> Estimate:
        """Nano-dollars for each call."""
        return self._ratio([(one.cost, one.calls) for one in self.units.values()], width)

    def cost_per_1k(self, width: float) -> Estimate:
        """Nano-dollars for a thousand tokens."""
        pairs = [(1_000 * one.cost, one.tokens) for one in self.units.values() if one.tokens]
        return self._ratio(pairs, width)

    def score(self, width: float) -> Estimate:
        """The mean of the scores, of calls that were judged."""
        return self._ratio([(one.score, one.rated) for one in self.units.values() if one.rated], width)

    def quantile(self, share: float, width: float) -> Estimate:
        """By nearest rank; an interval from that of the share below it (Woodruff 1952, JASA 47:635)."""
        if not self.times:
            return Estimate()
        if self._sorted is None:
            self._sorted = array("d", sorted(seconds for seconds, _ in self.times))
        values = self._sorted
        value = _at(values, share)
        below = self._below(value)
        low, high = wilson(share * below, below, width)
        return Estimate(value, _at(values, low), _at(values, high))

    def _worth(self, share: float) -> float:
        """How many independent calls these are worth for a rate: fewer, where a unit's calls agree."""
        return _worth(share, [(one.successes, one.calls) for one in self.units.values()])

    def _below(self, value: float) -> float:
        """How many independent times these are worth for the share of those up to a value."""
        counts: dict[str, list[int]] = {}
        for seconds, unit in self.times:
            found = counts.setdefault(unit, [0, 0])
            found[0] += seconds <= value
            found[1] += 1
        share = sum(below for below, _ in counts.values()) / len(self.times)
        return _worth(share, list(counts.values()))

    def _ratio(self, pairs: Sequence[tuple[float, int]], width: float) -> Estimate:
        weight = sum(of for _, of in pairs)
        if not weight:
            return Estimate()
        mean = math.fsum(total for total, _ in pairs) / weight
        if len(pairs) < 2:
            return Estimate(mean)
        error = math.sqrt(_spread(mean, pairs)) / weight
        return Estimate(mean, mean - width * error, mean + width * error)


def _spread(mean: float, pairs: Sequence[Sequence[float]]) -> float:
    """The variance of the sum of what units are off."""
    units = len(pairs)
    return units / (units - 1) * math.fsum((total - mean * of) ** 2 for total, of in pairs)


def _worth(share: float, pairs: Sequence[Sequence[float]]) -> float:
    """Observations over their design effect (Rao and Scott 1992, Biometrics 48:577).

    Where all agree nothing shows how much units do: then each unit counts once."""
    number = sum(of for _, of in pairs)
    if len(pairs) < 2 or not 0 < share < 1:
        return float(len(pairs))
    plain = share * (1 - share) / number
    return number / max(_spread(share, pairs) / number**2 / plain, 1.0)


def _at(values: Sequence[float], share: float) -> float:
    return values[min(max(math.ceil(share * len(values)), 1), len(values)) - 1]


def compared(
    control: Estimate, arm: Estimate, *, better: Better, least: float, width: float, calls: int
) -> Difference | None:
    """An arm against control; None where one of them has no figure.

    Args:
        better: Which way.
        least: The difference that should be found, in the unit of the estimates.
        width: Standard errors of an interval to either side.
        calls: Of this arm so far.
    """
    if control.value is None or arm.value is None:
        return None
    here, there = arm.interval, control.interval
    if here is None or there is None:
        return Difference(arm.value - control.value, -math.inf, math.inf, "too few")
    low, high = difference(control.value, there, arm.value, here)
    value = arm.value - control.value
    if low > 0 or high < 0:
        return Difference(value, low, high, "better" if (value > 0) is (better == "higher") else "worse")
    if least > 0 and -least < low and high < least:
        return Difference(value, low, high, "alike")
    if least <= 0:
        return Difference(value, low, high, "too few")
    # Intervals shrink as the root of the number of calls.
    factor = ((high - low) / 2 * (1 + POWER_Z / width) / least) ** 2
    return Difference(value, low, high, "too few", max(math.ceil(calls * (factor - 1)), 1))
