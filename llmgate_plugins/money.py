"""Tokens in disjoint buckets, and what they cost: usage, prices and their tiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from llmgate_plugins._building import quickly_built

__all__ = [
    "BUCKETS",
    "INPUT_BUCKETS",
    "NANO",
    "NO_USAGE",
    "OUTPUT_BUCKETS",
    "Iteration",
    "Price",
    "PriceTier",
    "Quote",
    "Usage",
    "cost_per_1k",
]

NANO = 1_000_000_000
"""Nano-dollars in one US dollar."""

INPUT_BUCKETS = ("input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "image_input")
"""The buckets of what a model reads."""

OUTPUT_BUCKETS = ("output", "reasoning", "audio_output", "image_output")
"""The buckets of what it writes."""

BUCKETS = INPUT_BUCKETS + OUTPUT_BUCKETS
"""The fields of a `Usage` and of a `Price` that count tokens, disjoint."""

AS_ITS_SIDE: Final = -1
"""In place of a bucket's price: it costs what other tokens of its side cost."""

_NEVER: Final = 1 << 62


@quickly_built
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one attempt, in disjoint buckets: their sum is the total.

    Attributes:
        input: Input tokens read at full price, of text or of a kind not told.
        cached_input: Input tokens the provider served from its prompt cache, of any kind.
        cache_write: Input tokens the provider wrote to its prompt cache, to be kept for
            minutes.
        cache_write_1h: The same, to be kept for an hour.
        audio_input: Input tokens of sound that came from no cache.
        image_input: Input tokens of pictures that came from no cache, where they are told
            apart from text.
        output: Output tokens that are none of the following.
        reasoning: Output tokens spent thinking.
        audio_output: Output tokens of sound.
        image_output: Output tokens of pictures.
        estimated: Counted by us, or not to be believed as the provider reported it.
        tier: How it was served, where that has a price of its own: "batch", "flex",
            "priority", ...; "" for a plain call.
        charged: Nano-dollars that this attempt cost by somebody's word; None where nobody says so.
        charged_by: Who says so: "" for the provider (OpenRouter does), or the host by name ("litellm"),
            which knows prices of pictures, seconds and queries. A host's word counts where tokens do
            not tell (see `Price.tells`).
        iterations: What each of several requests used that the provider made of this one, if it
            says so (Anthropic does); they add up to the buckets.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    estimated: bool = False
    tier: str = ""
    charged: int | None = None
    charged_by: str = ""
    iterations: tuple[Iteration, ...] = ()

    @property
    def total_input(self) -> int:
        """All tokens that were read."""
        return (
            self.input
            + self.cached_input
            + self.cache_write
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def total_output(self) -> int:
        """All tokens that were written."""
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total(self) -> int:
        """All tokens of all buckets."""
        return (
            self.input
            + self.cached_input
            + self.cache_write
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
            + self.output
            + self.reasoning
            + self.audio_output
            + self.image_output
        )


class Iteration(NamedTuple):
    """One of several requests that a provider made of one, and bills one by one.

    Attributes:
        model: Which was asked, where the provider says so; None for the one that answered.
    """

    usage: Usage
    model: str | None = None


class Quote(NamedTuple):
    """What a call will use whose text does not tell, before it is sent.

    Attributes:
        probable: What is to be expected.
        most: What it may be at most.
    """

    probable: Usage
    most: Usage


NO_USAGE: Final = Usage()
"""Nothing was read and nothing written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model's tokens cost, in integer nano-dollars per million tokens.

    A bucket that is not named is never free: cached input, cache writes, sound and pictures
    cost what `input` costs, `cache_write_1h` what `cache_write` costs, reasoning, sound and
    pictures that are written what `output` costs.

    Attributes:
        source: Where the price is from ("litellm", "genai-prices", "config").
        as_of: The date or version of that source.
        tiers: Prices that hold in place of this one under a condition (see `at`),
            smallest threshold first.
        flat_to: Up to so many input tokens a plain call costs this price itself.

    Raises:
        ValueError: A price is negative.
    """

    input: int = 0
    cached_input: int = AS_ITS_SIDE
    cache_write: int = AS_ITS_SIDE
    cache_write_1h: int = AS_ITS_SIDE
    audio_input: int = AS_ITS_SIDE
    image_input: int = AS_ITS_SIDE
    output: int = 0
    reasoning: int = AS_ITS_SIDE
    audio_output: int = AS_ITS_SIDE
    image_output: int = AS_ITS_SIDE
    source: str = "config"
    as_of: str = ""
    tiers: tuple[PriceTier, ...] = ()
    flat_to: int = field(init=False, repr=False, compare=False, default=_NEVER)

    def __post_init__(self) -> None:
        if self.cache_write_1h == AS_ITS_SIDE:
            object.__setattr__(self, "cache_write_1h", self.cache_write)
        for side in (INPUT_BUCKETS, OUTPUT_BUCKETS):
            whole = getattr(self, side[0])
            for bucket in side:
                rate = getattr(self, bucket)
                if rate == AS_ITS_SIDE and bucket != side[0]:
                    object.__setattr__(self, bucket, whole)
                elif rate < 0:
                    raise ValueError(f"a price cannot be negative: {bucket}={rate}")
        plain = (tier.above for tier in self.tiers if not tier.variant)
        object.__setattr__(self, "flat_to", min(plain, default=_NEVER))

    def at(self, input_tokens: int, variant: str = "") -> Price:
        """The price of a whole call with this much input, cached included, served this way.

        A variant that has no price of its own costs what a plain call costs. Several at once
        ("priority us") without one of their own make each bucket so many times as dear as each of
        them does.
        """
        if not variant and input_tokens <= self.flat_to:
            return self
        if " " in variant and not self.has(variant):
            return self._stacked(input_tokens, variant)
        found = self
        for tier in self.tiers:
            if tier.variant in ("", variant) and (input_tokens > tier.above or not tier.above):
                found = tier.price
        return found

    def has(self, variant: str) -> bool:
        """Whether this way of being served has a price of its own."""
        return not variant or any(tier.variant == variant for tier in self.tiers)

    def tells(self, usage: Usage) -> bool:
        """Whether it says what this usage costs: there are tokens, and it names a price for each kind.

        What a configuration leaves at nothing is free.
        """
        if self.source == "config":
            return usage.total > 0
        return usage.total > 0 and all(getattr(self, one) for one in BUCKETS if getattr(usage, one))

    def possible(self, input_tokens: int, variant: str = "") -> tuple[Price, ...]:
        """What a call may cost that asks to be served this way, and may be served in part so or plainly."""
        if not self.tiers:
            return (self,)
        if not variant:
            return self, self.at(input_tokens)
        words = variant.split(" ") if " " in variant else ()
        return self, *[self.at(input_tokens, word) for word in ("", *words, variant)]

    def _stacked(self, input_tokens: int, variant: str) -> Price:
        plain = self.at(input_tokens)
        rates: dict[str, Any] = {bucket: getattr(plain, bucket) for bucket in BUCKETS}
        for word in variant.split(" "):
            served = self.at(input_tokens, word)
            for bucket, rate in rates.items():
                before, after = getattr(plain, bucket), getattr(served, bucket)
                rates[bucket] = -(-rate * after // before) if before else max(rate, after)
        return Price(**rates, source=self.source, as_of=self.as_of)

    def worst(self, read: int, written: int, variant: str = "") -> int:
        """Nano-dollars that a call costs at most that reads and writes so much text.

        Written to the cache for minutes if that is dearer; sound, pictures and caches that
        keep for an hour are not text.
        """
        dearest = max(self.input, self.cached_input, self.cache_write)
        longest = max(self.output, self.reasoning)
        if self.tiers:
            for other in self.possible(read, variant):
                dearest = max(dearest, other.input, other.cached_input, other.cache_write)
                longest = max(longest, other.output, other.reasoning)
        return -(-(read * dearest + written * longest) // 1_000_000)

    def cost(self, usage: Usage) -> int:
        """Nano-dollars for this usage at this very price, rounded up; tiers are not looked at."""
        picos = usage.input * self.input + usage.output * self.output
        if usage.cached_input or usage.cache_write or usage.reasoning:
            picos += (
                usage.cached_input * self.cached_input
                + usage.cache_write * self.cache_write
                + usage.reasoning * self.reasoning
            )
        if usage.cache_write_1h or usage.audio_input or usage.image_input:
            picos += (
                usage.cache_write_1h * self.cache_write_1h
                + usage.audio_input * self.audio_input
                + usage.image_input * self.image_input
            )
        if usage.audio_output or usage.image_output:
            picos += usage.audio_output * self.audio_output + usage.image_output * self.image_output
        return -(-picos // 1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """Another price of the same model, under a condition.

    Attributes:
        above: Applies to the whole call when its input, cached included, has more
            tokens than this; 0 for any.
        variant: A way of being served that is priced apart: "batch", "flex", "priority",
            ...; "" for a plain call.
        price: All buckets, complete.
    """

    above: int = 0
    variant: str = ""
    price: Price


def cost_per_1k(cost: int, usage: Usage) -> int | None:
    """Nano-dollars per thousand tokens of all buckets, rounded up; None where there are none."""
    total = usage.total
    return -(-cost * 1000 // total) if total else None
