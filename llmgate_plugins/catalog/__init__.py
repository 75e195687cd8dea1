"""Models, prices, context sizes and capabilities, each with its source and date."""

from __future__ import annotations

from llmgate_plugins.catalog.card import CAPABILITIES, ModelCard
from llmgate_plugins.catalog.catalog import Catalog, Comparison
from llmgate_plugins.catalog.configured import is_per_token, price_from_config
from llmgate_plugins.catalog.from_genai_prices import genai_table
from llmgate_plugins.catalog.from_litellm import litellm_table
from llmgate_plugins.catalog.names import canonical_provider
from llmgate_plugins.catalog.overrides import Overrides
from llmgate_plugins.catalog.source import Source, SourceStatus

__all__ = [
    "CAPABILITIES",
    "Catalog",
    "Comparison",
    "ModelCard",
    "Overrides",
    "Source",
    "SourceStatus",
    "canonical_provider",
    "genai_table",
    "is_per_token",
    "litellm_table",
    "price_from_config",
]
