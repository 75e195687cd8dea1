"""Tokens in disjoint buckets, and what they cost: usage, prices and their tiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins._building import quickly_built

__all__ = [
    "BUCKETS",
    "INPUT_BUCKETS",
    "NANO",
    "NO_USAGE",
    "OUTPUT_BUCKETS",
    "Price",
    "PriceTier",
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
        charged: Nano-dollars that the provider says it charges for this attempt
            (OpenRouter does); None where it says nothing.
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

        A variant that has no price of its own costs what a plain call costs.
        """
        if not variant and input_tokens <= self.flat_to:
            return self
        found = self
        for tier in self.tiers:
            if tier.variant in ("", variant) and (input_tokens > tier.above or not tier.above):
                found = tier.price
        return found

    def worst(self, read: int, written: int, variant: str = "") -> int:
        """Nano-dollars that a call costs at most that reads and writes so much text.

        Written to the cache for minutes if that is dearer; sound, pictures and caches that
        keep for an hour are not text.
        """
        dearest = max(self.input, self.cached_input, self.cache_write)
        longest = max(self.output, self.reasoning)
        if self.tiers:
            other = self.at(read, variant)
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
