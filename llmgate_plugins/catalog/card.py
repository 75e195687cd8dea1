"""What is known of one model at one provider: a card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from llmgate_plugins.types import Price, PriceTier

__all__ = ["CAPABILITIES", "ModelCard"]

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
class ModelCard:
    """One model at one provider, as one source describes it.

    Attributes:
        key: The entry's own name in its source.
        provider: LiteLLM's provider name, without its sub-kinds ("bedrock", "vertex_ai").
        model: The provider's own name of the model.
        mode: "chat", "embedding", "completion", "responses", "image_generation", ...;
            "" if the source does not say.
        price: What a plain call costs, with its tiers, or None if the source names no price
            per token.
        context_window: Tokens it reads at once, or None if not known.
        max_output: Tokens it writes at once, or None if not known.
        capabilities: From `CAPABILITIES`; empty if the source knows of none.
        deprecation: When the provider retires it, if announced.
        source: "litellm", "genai-prices" or "config". `price.source` may differ: a card
            without a price borrows one from the next source.
        as_of: Version and date of that source.
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

    @property
    def name(self) -> str:
        """`provider/model`, as a configuration would write it."""
        return f"{self.provider}/{self.model}"

    @property
    def tiers(self) -> tuple[PriceTier, ...]:
        """Prices under conditions, smallest threshold first."""
        return () if self.price is None else self.price.tiers

    def price_at(self, input_tokens: int, variant: str = "") -> Price | None:
        """The price of a call with this much input, served this way (see `Price.at`)."""
        return None if self.price is None else self.price.at(input_tokens, variant)
