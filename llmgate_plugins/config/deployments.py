"""From configuration entries to the deployments a gateway chooses among."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from llmgate_plugins.config.checks import REGION_NAMES, registered_providers
from llmgate_plugins.config.deployment_config import DeploymentConfig, is_price
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.problems import Path
from llmgate_plugins.config.providers import split_model
from llmgate_plugins.config.references import References
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types import EMPTY, Deployment, Endpoint, Price

__all__ = ["Card", "Cards", "build_deployments", "missing_secrets"]

_CLIENT: Final = frozenset({"api_version", "organization", "timeout", "stream_timeout", "drop_params"})
_CLIENT_PREFIXES: Final = (
    "aws_",
    "vertex_",
    "azure_",
    "watsonx_",
    "s3_",
    "gcs_",
    "sagemaker_",
    "oci_",
    "sap_",
)
_NOT_PASSED_ON: Final = frozenset(
    {"model", "custom_llm_provider", "api_key", "api_base", "extra_headers", "weight"}
    | {"region_name", "max_retries", "num_retries", "litellm_credential_name", "model_info"}
)
_ABOUT_IT: Final = frozenset(
    {
        *("rpm", "tpm", "input_tpm", "output_tpm", "max_parallel_requests", "tags", "tag_regex", "order"),
        *("max_budget", "budget_duration"),
    }
)


_FIELDS: Final = (
    "id",
    "region",
    "data_classes",
    "terms",
    "capabilities",
    "max_input_tokens",
    "max_output_tokens",
)
"""What `model_info` says that a deployment has a field for."""


class Card(Protocol):
    """What a catalogue tells of a model."""

    @property
    def price(self) -> Price | None:
        """None if no source knows one."""

    @property
    def context_window(self) -> int | None:
        """Tokens it can read at once."""

    @property
    def max_output(self) -> int | None:
        """Tokens it can write at once."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Such as "tools", "vision"."""


class Cards(Protocol):
    """What is asked of a catalogue."""

    def lookup(self, provider: str | None, model: str, *, region: str | None = None) -> Card | None:
        """The card of this model, or None."""


def build_deployments(
    config: GatewayConfig,
    catalog: Cards | None = None,
    *,
    names: Iterable[str] = (),
    secrets: bool = True,
) -> tuple[Deployment, ...]:
    """The deployments, in the order of the file.

    A wildcard entry gives one deployment for each name it covers that is mentioned in
    aliases, fallbacks or policies, or given here.

    Args:
        catalog: Who knows prices and sizes; by default the installed catalogue with
            the file's `prices` laid over it.
        names: Further names to look up among the wildcards.
        secrets: Refuse if a reference written in the file leads nowhere. False leaves
            that to the moment a request is built; addresses and models are needed now.

    Raises:
        ConfigurationError: With every reference that cannot be followed, and every
            provider that cannot be told.
    """
    if catalog is None:
        from llmgate_plugins.catalog import Catalog  # reads tables of several megabytes on demand

        catalog = Catalog(overrides=config.price_overrides())
    builder = _Builder(config, catalog)
    if secrets and (missing := missing_secrets(config, usual=False)):
        raise ConfigurationError(problems=missing)
    built = [builder.build(index, entry) for index, entry in _entries(config, names)]
    if builder.problems:
        first_of_each = {problem.message: problem for problem in reversed(builder.problems)}
        raise ConfigurationError(problems=tuple(reversed(first_of_each.values())))
    return tuple(deployment for deployment in built if deployment is not None)


def missing_secrets(config: GatewayConfig, *, usual: bool = True) -> list[Problem]:
    """A problem for every reference that leads nowhere, told at its first place.

    Args:
        usual: Also for the variables where a provider's key usually stands, where no
            key is written.
    """
    return References(config).missing(usual=usual)


def _entries(config: GatewayConfig, names: Iterable[str]) -> Iterator[tuple[int, DeploymentConfig]]:
    """Concrete entries with their place in the file; wildcards are filled in by mentioned names."""
    wildcards = [entry for entry in config.model_list if entry.is_wildcard]
    known = {*config.model_names, *config.alias_map()}
    served: dict[str, list[str]] = {}
    for name in dict.fromkeys((*_mentioned(config), *names)):
        patterns = [entry.model_name for entry in wildcards if entry.serving(name)]
        if patterns and name not in known and "*" not in name:
            served.setdefault(max(patterns, key=len), []).append(name)  # as LiteLLM: the longest one
    for index, entry in enumerate(config.model_list):
        if not entry.is_wildcard:
            yield index, entry
        for name in served.get(entry.model_name, ()) if entry.is_wildcard else ():
            serving = entry.serving(name)
            if serving is not None:
                yield index, serving


def _mentioned(config: GatewayConfig) -> Iterator[str]:
    yield from config.alias_map().values()
    for policy in ("default", *config.policies):
        for alias, targets in config.fallback_map(policy).items():
            yield alias
            yield from targets
    for targets in (*config.context_window_fallbacks.values(), *config.content_policy_fallbacks.values()):
        yield from targets


class _Builder:
    def __init__(self, config: GatewayConfig, catalog: Cards) -> None:
        self.config = config
        self.catalog = catalog
        self.references = References(config)
        self.registered = registered_providers(config)
        self.problems: list[Problem] = []
        self._taken = {entry.model_info.id for entry in config.model_list if entry.model_info.id}
        self._shares = _shares(config)

    def build(self, index: int, entry: DeploymentConfig) -> Deployment | None:
        """The deployment, or None if a problem was noted."""
        written, problems = self.references.parameters(index, entry)
        self.problems += problems
        model = written.get("model")
        if model is None:
            return None
        split = split_model(model, written.get("custom_llm_provider"), self.registered)
        if split is None:
            remedy = "write provider/model, such as openai/gpt-4o-mini, or set custom_llm_provider"
            path: Path = ("model_list", index, "litellm_params", "model")
            self.problems.append(self.config.locator.problem(path, "its provider cannot be told", remedy))
            return None
        region = self._region(entry, written)
        card = self._card(split, entry, region)
        options, params, info = _sorted_out(written)
        cleared = entry.model_info.data_classes
        return Deployment(
            id=self._name(entry, split),
            alias=entry.model_name,
            provider=split[0],
            model=split[1],
            region=region,
            data_classes=None if cleared is None else frozenset(cleared),
            terms=frozenset(entry.model_info.terms),
            price=_price(entry, card),
            context_window=entry.model_info.max_input_tokens or (card.context_window if card else None),
            max_output=entry.model_info.max_output_tokens or (card.max_output if card else None),
            capabilities=_capabilities(entry, card),
            weight=self._shares.get(index, 1.0),
            endpoint=Endpoint(
                base_url=written.get("api_base"),
                api_key=self.references.key(written, split[0]),
                headers=written.get("extra_headers", EMPTY),
                options=options,
            ),
            params=params,
            info={**info, **_facts(entry)},
        )

    def _region(self, entry: DeploymentConfig, written: Mapping[str, Any]) -> str | None:
        declared = [entry.model_info.region, *(written.get(name) for name in REGION_NAMES)]
        region = next((region for region in declared if region), None)
        return self.references.text(region) if region else None

    def _card(self, split: tuple[str, str], entry: DeploymentConfig, region: str | None) -> Card | None:
        base = entry.model_info.base_model
        if base:
            provider, model = split_model(base, None, self.registered) or (split[0], base)
            return self.catalog.lookup(provider, model, region=region)
        return self.catalog.lookup(*split, region=region)

    def _name(self, entry: DeploymentConfig, split: tuple[str, str]) -> str:
        """The id that is written, or one that people can read and that stays the same."""
        if entry.model_info.id:
            return entry.model_info.id
        stem = f"{entry.model_name}/{split[0]}-{split[1].replace('/', '-')}"
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._taken.add(name)
        return name


def _shares(config: GatewayConfig) -> dict[int, float]:
    """Weight of each entry: as written; else, where all of an alias declare them, by rpm or tpm."""
    shares: dict[int, float] = {}
    groups: dict[str, list[int]] = {}
    for index, entry in enumerate(config.model_list):
        groups.setdefault(entry.model_name, []).append(index)
    for members in groups.values():
        entries = {index: config.model_list[index] for index in members}
        weights = {index: entry.litellm_params.weight for index, entry in entries.items()}
        if any(weight is not None for weight in weights.values()):
            shares |= {index: 1.0 if weight is None else weight for index, weight in weights.items()}
            continue
        for limit in ("rpm", "tpm"):
            rates = {
                index: getattr(entry.litellm_params, limit) or getattr(entry, limit)
                for index, entry in entries.items()
            }
            if all(rates.values()):
                shares |= {index: float(rate) for index, rate in rates.items() if rate}
                break
    return shares


def _sorted_out(written: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Client options, call parameters, and facts about the deployment, from its parameters."""
    options: dict[str, Any] = {}
    params: dict[str, Any] = {}
    info: dict[str, Any] = {}
    for name, value in written.items():
        if name in _NOT_PASSED_ON or is_price(name):
            continue
        if name in _ABOUT_IT or "cost" in name or name == "tiered_pricing":
            info[name] = value
        elif name in _CLIENT or name.startswith(_CLIENT_PREFIXES) or isinstance(value, Secret):
            options[name] = value
        else:
            params[name] = value
    return options, params, info


def _facts(entry: DeploymentConfig) -> dict[str, Any]:
    """What `model_info` says that has no field of its own."""
    facts = {
        name: value
        for name, value in dict(entry.model_info).items()
        if value is not None and not is_price(name)
    }
    for name in _FIELDS:
        facts.pop(name, None)
    for limit in ("rpm", "tpm"):
        if getattr(entry, limit) is not None and getattr(entry.litellm_params, limit) is None:
            facts[limit] = getattr(entry, limit)
    return facts


def _price(entry: DeploymentConfig, card: Card | None) -> Price | None:
    from llmgate_plugins.catalog import price_from_config

    base = card.price if card else None
    inline = {**entry.model_info.prices(), **entry.litellm_params.prices()}
    return price_from_config(inline, base=base) or base


def _capabilities(entry: DeploymentConfig, card: Card | None) -> frozenset[str]:
    if entry.model_info.capabilities is not None:
        return frozenset(entry.model_info.capabilities)
    return card.capabilities if card else frozenset()
