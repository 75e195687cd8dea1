"""The section `prices`: what is known of models, over what the catalogue knows."""

from __future__ import annotations

from pydantic import Field

from llmgate_plugins.config.deployment_config import Name
from llmgate_plugins.config.quantities import Share, UsdPerMillion
from llmgate_plugins.config.section import Section

__all__ = ["PriceOverride", "PriceTierOverride"]


class _BucketPrices(Section):
    """Prices in US dollars per million tokens."""

    input: UsdPerMillion | None = Field(None, description="Input tokens at full price.")
    cached_input: UsdPerMillion | None = Field(
        None, description="Input tokens the provider's prompt cache served; as input if left out."
    )
    cache_write: UsdPerMillion | None = Field(
        None, description="Input tokens written to the provider's prompt cache; as input if left out."
    )
    cache_write_1h: UsdPerMillion | None = Field(
        None, description="The same, to be kept for an hour; as cache_write if left out."
    )
    audio_input: UsdPerMillion | None = Field(
        None, description="Input tokens of sound; as input if left out."
    )
    image_input: UsdPerMillion | None = Field(
        None, description="Input tokens of pictures; as input if left out."
    )
    output: UsdPerMillion | None = Field(None, description="Output tokens.")
    reasoning: UsdPerMillion | None = Field(
        None, description="Output tokens spent on reasoning; as output if left out."
    )
    audio_output: UsdPerMillion | None = Field(
        None, description="Output tokens of sound; as output if left out."
    )
    image_output: UsdPerMillion | None = Field(
        None, description="Output tokens of pictures; as output if left out."
    )


class PriceTierOverride(_BucketPrices):
    """Other prices of the same model, under a condition. What is left out costs what it costs otherwise."""

    above: int | None = Field(
        None, ge=1, description="For the whole call, when its input has more tokens than this."
    )
    tier: Name | None = Field(
        None, description='For calls served in this way: "batch", "flex", "priority", ...'
    )
    discount: Share | None = Field(None, description='Off every price of a plain call: "50%".')


class PriceOverride(_BucketPrices):
    """What is known of a model, over what the catalogue knows. Prices in US dollars per million tokens."""

    tiers: tuple[PriceTierOverride, ...] | None = Field(
        None, description="Other prices for long inputs, service tiers and batches."
    )
    context_window: int | None = Field(None, ge=1, description="Tokens it can read at once.")
    max_output: int | None = Field(None, ge=1, description="Tokens it can write at once.")
    capabilities: tuple[str, ...] | None = Field(None, description='What it can do ("tools", "vision").')
    mode: str | None = Field(None, description='"chat" or "embedding".')
