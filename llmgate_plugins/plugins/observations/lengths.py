"""How long answers are: of a model, and of those who ask it for the same kind of thing."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.money import Usage
from llmgate_plugins.plugins.estimates import USUAL_OUTPUT

__all__ = ["USUAL_OUTPUT", "Lengths", "Mean"]

KEPT: Final = 200.0
"""So many answers make a mean; then each new one counts for a 200th, and the old ones fade."""
DOUBT: Final = 2.0
"""What a more general mean counts for beside one answer, in answers; beside ten, a tenth of it."""
MOST_FEATURES: Final = 64


class Mean:
    """A mean of the last some hundred."""

    __slots__ = ("count", "mean")

    def __init__(self) -> None:
        self.mean = 0.0
        self.count = 0.0

    def add(self, value: float) -> None:
        """One more."""
        count = self.count
        if count < KEPT:
            self.count = count = count + 1.0
        self.mean += (value - self.mean) / count

    def towards(self, general: float) -> float:
        """The mean, drawn to a more general one while there is little to go by."""
        count = self.count
        if not count:
            return general
        doubt = DOUBT / count
        return (self.mean * count + general * doubt) / (count + doubt)


class Lengths:
    """Output tokens per answer: of one model or alias, in all and for each feature that asks.

    Also which share of the input was read from the provider's prompt cache, and written to it.
    """

    __slots__ = ("cached", "features", "whole", "written")

    def __init__(self) -> None:
        self.whole = Mean()
        self.features: dict[str, Mean] = {}
        self.cached = Mean()
        self.written = Mean()

    def read(self, usage: Usage) -> None:
        """What was read for one more answer; most models never cache anything."""
        tokens = usage.total_input
        if tokens:
            self.cached.add(usage.cached_input / tokens)
            self.written.add((usage.cache_write + usage.cache_write_1h) / tokens)

    def add(self, output: int, feature: str | None) -> None:
        """The length of one more answer."""
        whole = self.whole
        count = whole.count
        if count < KEPT:
            whole.count = count = count + 1.0
        whole.mean += (output - whole.mean) / count
        if feature is not None:
            mean = self.features.get(feature)
            if mean is None:
                if len(self.features) >= MOST_FEATURES:
                    del self.features[next(iter(self.features))]
                mean = self.features[feature] = Mean()
            mean.add(output)

    def expected(self, feature: str | None, general: float = USUAL_OUTPUT) -> float:
        """Output tokens of the next answer; `general` where nothing is known."""
        whole = self.whole.towards(general)
        mean = self.features.get(feature) if feature is not None else None
        return whole if mean is None else mean.towards(whole)
