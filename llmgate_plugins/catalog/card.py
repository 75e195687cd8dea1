"""What is known of one model at one provider: a card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from llmgate_plugins.types import Price

__all__ = ["CAPABILITIES", "ModelCard", "PriceTier"]

CAPABILITIES = frozenset(
    {
        "tools",
        "parallel_tools",
        "tool_choice",
        "vision",
        "json_schema",
        "reasoning",
        "prompt_caching",
        "audio_input",
        "audio_output",
        "video_input",
        "pdf_input",
        "web_search",
        "computer_use",
        "system_messages",
        "assistant_prefill",
    }
)
"""Every capability that a card may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """Another price of the same model, under a condition.

    Attributes:
        above: Applies to the whole call when its input, cached included, has more
            tokens than this; 0 for any.
        variant: A way of calling that is priced apart: "batch", "flex", "priority",
            "cache_1h" (cache writes kept for an hour), ...; "" for a plain call.
        price: All five buckets, complete.
    """

    above: int = 0
    variant: str = ""
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model at one provider, as one source describes it.

    Attributes:
        key: The entry's own name in its source.
        provider: LiteLLM's provider name, without its sub-kinds ("bedrock", "vertex_ai").
        model: The provider's own name of the model.
        mode: "chat", "embedding", "completion", "responses", "image_generation", ...;
            "" if the source does not say.
        price: What a plain call costs, or None if the source names no price per token.
        context_window: Tokens it reads at once, or None if not known.
        max_output: Tokens it writes at once, or None if not known.
        capabilities: From `CAPABILITIES`; empty if the source knows of none.
        deprecation: When the provider retires it, if announced.
        source: "litellm", "genai-prices" or "config". `price.source` may differ: a card
            without a price borrows one from the next source.
        as_of: Version and date of that source.
        tiers: Prices under conditions, smallest threshold first.
    """

    key: str
    provider: str
    model: str
    mode: str = "chat"
    price: Price | None = None
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] = frozenset()
    deprecation: date | None = None
    source: str = "config"
    as_of: str = ""
    tiers: tuple[PriceTier, ...] = ()

    @property
    def name(self) -> str:
        """`provider/model`, as a configuration would write it."""
        return f"{self.provider}/{self.model}"

    def price_at(self, input_tokens: int, variant: str = "") -> Price | None:
        """The price of a call with this much input, called this way.

        A variant that the source does not price costs what a plain call costs.
        """
        found = self.price
        for tier in self.tiers:
            if tier.variant in ("", variant) and input_tokens >= tier.above + (tier.above > 0):
                found = tier.price
        return found
