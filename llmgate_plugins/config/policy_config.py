"""The sections that say who may use what, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from llmgate_plugins.config.deployment_config import Name, Text
from llmgate_plugins.config.quantities import Duration, Share, UsdPerMillion
from llmgate_plugins.config.section import Section
from llmgate_plugins.config.shielding import Free, shield
from llmgate_plugins.types import OnBreak

__all__ = [
    "LatencyGoal",
    "PluginConfig",
    "PolicyConfig",
    "Preference",
    "PriceOverride",
    "Requirements",
]

Preference = Literal["ordered", "weighted", "cheapest", "fastest"]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_many, json_schema_input_type=Name | list[Name])]
"""One name or a list of them."""


class Requirements(Section):
    """What a deployment must be to serve at all. Undeclared is not good enough."""

    region: Names = Field((), description="Regions of which it must declare one.")
    data_class: Names = Field((), description="Data classes a call may have under this policy.")
    capabilities: Names = Field((), description='What it must be able to do: "tools", "vision" ...')
    provider: Names = Field((), description="Providers of which it must be one.")
    only: Names = Field((), description='Only these: deployment ids, providers or "provider/model".')
    ignore: Names = Field((), description='Never these: deployment ids, providers or "provider/model".')


class LatencyGoal(Section):
    """How fast and how sure calls should be: goals for ranking and for alerts, not limits."""

    p50: Duration | None = Field(None, description="Half of the calls end within this time.")
    p95: Duration | None = Field(None, description="95 of 100 calls end within this time.")
    p99: Duration | None = Field(None, description="99 of 100 calls end within this time.")
    success: Annotated[Share, Field(gt=0, lt=1)] | None = Field(
        None, description="The share of calls that succeed: 99%."
    )


class PolicyConfig(Section):
    """A named set of rules; the application names it in the context, `default` applies otherwise."""

    prefer: Preference | None = Field(
        None,
        description="Which deployment to try first: in the order of the file, by weight, by price or by "
        "latency. Left out: no opinion.",
    )
    require: Requirements = Field(
        default_factory=Requirements, description="What a deployment must be to serve."
    )
    fallback_to: Names = Field((), description="Aliases to try when all deployments of the alias failed.")
    deadline: Duration | None = Field(None, description="Longest time for a call with all its attempts.")
    max_attempts: int | None = Field(
        None, ge=1, le=100, strict=True, description="Most attempts of one call."
    )
    slo: LatencyGoal | None = Field(None, description="How fast and how sure calls should be.")
    on_break: OnBreak | None = Field(
        None,
        description="As `failover: on_break`, for the calls of this policy: raise, restart, resume or hold.",
    )
    version: str | None = Field(
        None,
        min_length=1,
        description="Names this state of the policy in the books. Left out: digits that change with its "
        "content.",
    )

    @property
    def state(self) -> str:
        """The version, or eight hex digits that change with the content."""
        return self.version or hashlib.sha256(repr(self).encode()).hexdigest()[:8]


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


class PluginConfig(Section):
    """A plugin that may be loaded from an installed package. A plain name is short for {name: ...}."""

    name: Name = Field(description="Name of its entry point in the group `llmgate`.")
    dist: Name | None = Field(None, description="The distribution it must come from.")
    version: Text | None = Field(
        None, description='The version that distribution must have: "1.2.0" or ">=1.2,<2".'
    )
    options: Mapping[str, Free] = Field(
        default_factory=dict, description="What it is made with; secrets as references."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        options = value.get("options") if isinstance(value, Mapping) else None
        if isinstance(options, Mapping):
            return {**value, "options": shield("", options)}
        return value
