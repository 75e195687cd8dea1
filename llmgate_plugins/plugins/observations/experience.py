"""What was seen of one deployment, the old fading."""

from __future__ import annotations

from math import exp, inf
from typing import Final

from llmgate_plugins.plugins.observations.durations import Durations
from llmgate_plugins.plugins.observations.lengths import Lengths

__all__ = ["RELIABILITY", "SPEED", "STALE", "Experience"]

SPEED: Final = 120.0
"""Seconds in which a duration fades to a third (to 1/e, 37 %)."""
RELIABILITY: Final = 1_800.0
"""The same for a success or a failure: rare things need a longer memory."""
GRAIN: Final = 1.0
STALE: Final = 300.0
"""Seconds after which a deployment that nobody has used is not known any more: then it is looked at anew."""
KEPT: Final = 50.0
"""However many there are, each new duration counts for a fiftieth, so that a burst also teaches."""
HALFWAY: Final = 1_000.0
"""A variance of output lengths, in tokens squared, at which half of a slope is believed."""


class Experience:
    """What was seen of one deployment. Changed under its store's lock; read without.

    Attributes:
        in_flight: Attempts under way, as far as this process knows.
        usual: How many were under way, on average, when an answer came.
        seen: When an answer came last, monotonic seconds.
        count: Answers, those that have faded as parts of one, at most 50.
        latency, first_token: Seconds, means; 0 where none was seen.
        streams: Streams, as `count`.
        output: Output tokens, mean of the same answers as `latency`.
        successes, failures: Attempts, those that have faded as parts of one. A failure counts where
            the deployment or its provider is to blame.
        judged: Until when these have faded, monotonic seconds; right within a second.
        throttles: Refusals for a rate limit, in all.
        durations: Of whole answers, as a distribution.
        lengths: Of its model's answers, shared by all deployments of that model.
        of_alias: Of the answers of all deployments of its alias.
    """

    __slots__ = (
        "_covariance", "_variance", "count", "durations", "failures", "first_token", "in_flight",
        "judged", "latency", "lengths", "of_alias", "output", "seen", "streams", "successes", "throttles",
        "usual",
    )  # fmt: skip

    def __init__(self, lengths: Lengths, of_alias: Lengths) -> None:
        self.lengths = lengths
        self.of_alias = of_alias
        self.in_flight = 0
        self.usual = 0.0
        self.seen = -inf
        self.judged = -inf
        self.count = self.streams = 0.0
        self.latency = self.first_token = self.output = 0.0
        self.successes = self.failures = 0.0
        self.throttles = 0
        self.durations = Durations()
        self._variance = self._covariance = 0.0

    def answered(
        self, now: float, latency: float, first_token: float | None, output: int, under_way: int
    ) -> None:
        """An answer came, when so many were under way."""
        fade = self._fade(now)
        faded = self.count * fade
        self.count = count = faded + 1.0 if faded < KEPT else KEPT + 1.0
        share = 1.0 / count
        slower = latency - self.latency
        self.latency += share * slower
        longer = output - self.output
        if longer or self._variance:
            self.output += share * longer
            kept = 1.0 - share
            self._variance = kept * (self._variance + share * longer * longer)
            self._covariance = kept * (self._covariance + share * longer * slower)
        self.usual += share * (under_way - self.usual)
        self.durations.add(latency, fade)
        if first_token is not None:
            faded = self.streams * fade
            self.streams = count = faded + 1.0 if faded < KEPT else KEPT + 1.0
            self.first_token += (first_token - self.first_token) / count
        if now - self.judged > GRAIN:
            self._forget(now)
        self.successes += 1.0

    def failed(self, now: float) -> None:
        """It failed, and is to blame."""
        self._forget(now)
        self.failures += 1.0

    def waited(self, now: float, seconds: float) -> None:
        """No answer came within this time, and nobody knows when one would have."""
        fade = self._fade(now)
        self.durations.add(seconds, fade)
        faded = self.count * fade
        self.count = count = faded + 1.0 if faded < KEPT else KEPT + 1.0
        if seconds > self.latency:
            self.latency += (seconds - self.latency) / count

    def _fade(self, now: float) -> float:
        """What is left of durations since the last one."""
        passed = now - self.seen
        self.seen = now
        return exp(-passed / SPEED) if passed <= STALE else 0.0

    def _forget(self, now: float) -> None:
        """Let successes and failures fade until now."""
        fade = exp((self.judged - now) / RELIABILITY)
        self.judged = now
        self.successes *= fade
        self.failures *= fade

    def judged_at(self, now: float) -> tuple[float, float]:
        """(successes, failures), faded until now."""
        fade = exp((self.judged - now) / RELIABILITY)
        return self.successes * fade, self.failures * fade

    @property
    def per_token(self) -> float:
        """Seconds that one more token of output takes.

        The slope of latency over output, by least squares in which the old fades; drawn to 0
        while lengths have hardly differed, so that chance makes no slope of it.
        """
        slope = self._covariance / (self._variance + HALFWAY)
        return slope if slope > 0.0 else 0.0

    def is_known(self, now: float) -> bool:
        """Whether anything was seen of it lately."""
        return self.count > 0.0 and now - self.seen <= STALE
