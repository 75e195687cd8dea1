"""Where requests go: a model at a provider, and how it is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmgate_plugins.money import Price
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types.empty import EMPTY

__all__ = ["Deployment", "Endpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a deployment is reached: an address and the key that belongs to it.

    The two are one object on purpose: no call can pair the key with another address.

    Attributes:
        base_url: The provider's address; None for the provider's own default.
        api_key: The key or a reference to it, never shown.
        headers: Further headers; their values are secrets as well.
        options: Further settings of the provider's client (`api_version`,
            `aws_region_name`, `organization`, ...).
    """

    base_url: str | None = None
    api_key: Secret | None = None
    headers: Mapping[str, Secret] = EMPTY
    options: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deployment:
    """One model at one provider, region and credential. Compared by identity.

    Attributes:
        id: Unique within a gateway.
        alias: The name applications ask for.
        provider: "openai", "anthropic", ... (LiteLLM's provider names).
        model: The provider's own name of the model.
        region: Where it runs, or None if not declared. An undeclared region is
            not eligible for a call that is bound to one.
        data_classes: Classes of data it is cleared for ("public", "pii"); None if not declared.
        terms: What its provider has agreed to ("no_retention", "no_training", "hipaa"). A term
            that is not declared does not hold.
        price: None if no source knows one.
        context_window: Tokens it can read at once, or None if not known.
        max_output: Tokens it can write at once, or None if not known.
        capabilities: Such as "tools", "vision", "json_schema", "reasoning".
        weight: Share of traffic among its siblings for weighted selection.
        endpoint: Address and key.
        params: Call parameters that configuration fixes for this deployment.
        info: Whatever else configuration says of it (LiteLLM: `model_info`).
    """

    id: str
    alias: str
    provider: str
    model: str
    region: str | None = None
    data_classes: frozenset[str] | None = None
    terms: frozenset[str] = frozenset()
    price: Price | None = None
    context_window: int | None = None
    max_output: int | None = None
    capabilities: frozenset[str] = frozenset()
    weight: float = 1.0
    endpoint: Endpoint = field(default_factory=Endpoint, repr=False)
    params: Mapping[str, Any] = field(default=EMPTY, repr=False)
    info: Mapping[str, Any] = field(default=EMPTY, repr=False)

    @property
    def credential(self) -> str | None:
        """A short id of the key, safe to show; deployments that share it share a key."""
        return self.endpoint.api_key.id if self.endpoint.api_key is not None else None
