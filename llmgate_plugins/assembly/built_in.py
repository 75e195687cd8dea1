"""From the file's sections to the built-in plugins that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from llmgate_plugins.config import GatewayConfig, LedgerConfig, StoreContentConfig
from llmgate_plugins.config.experiment_checks import experiment_of
from llmgate_plugins.plugins import (
    Cheapest,
    Contents,
    Experiments,
    Failover,
    Fastest,
    InOrder,
    LedgerAccounting,
    Limits,
    Patience,
    Policies,
    Telemetry,
    Weighted,
)
from llmgate_plugins.plugins.general_fallbacks import GeneralFallbacks
from llmgate_plugins.plugins.shadow import Shadow, ShadowPolicies, ShadowPolicy, ShadowTraffic
from llmgate_plugins.types import Deployment

__all__ = ["as_configured", "sections_of"]

_PREFERENCES: Final = {"ordered": InOrder, "weighted": Weighted, "cheapest": Cheapest, "fastest": Fastest}


def sections_of(config: GatewayConfig, deployments: Sequence[Deployment]) -> Iterator[object]:
    """The plugins that the sections of the file stand for."""
    if config.experiments:
        made = [experiment_of(name, one) for name, one in config.experiments.items()]
        yield Experiments(made, aliases=config.alias_map())
    yield from _shadows(config)
    yield from _contents(config.ledger)
    if config.live_statistics:
        from llmgate_plugins.insight import LiveStatistics  # wants a package of its own

        yield LiveStatistics()
    preference = config.router_settings.preference
    if config.policies:
        aliases, named = config.alias_map(), config.named_fallbacks().keys() - {"*"}
        yield Policies(
            config.named_policies(),
            [one.rule() for one in config.rules],
            aliases={**{one.id: one.alias for one in deployments}, **aliases},
            with_fallbacks=[*named, *(name for name, alias in aliases.items() if alias in named)],
        )
    elif preference is not None:
        yield _PREFERENCES[preference]()
    fallbacks = _general_fallbacks(config)
    if fallbacks is not None:
        yield fallbacks


def _shadows(config: GatewayConfig) -> Iterator[object]:
    if config.shadow:
        yield ShadowTraffic(
            Shadow(
                name=one.title,
                to=one.to,
                policy=one.policy,
                sample=one.sample,
                when=one.when or {},
                deadline=one.deadline,
                attempts=one.attempts,
                similarity=one.similarity,
            )
            for one in config.shadow
        )
    if config.shadow_policy:
        yield ShadowPolicies(
            ShadowPolicy(policy=one.policy, sample=one.sample, when=one.when or {})
            for one in config.shadow_policy
        )


def _contents(config: LedgerConfig) -> Iterator[Contents]:
    wanted = config.store_content
    if wanted is True:
        yield Contents()
    elif isinstance(wanted, StoreContentConfig):
        yield Contents(tenants=wanted.tenants, policies=wanted.policies)


def _general_fallbacks(config: GatewayConfig) -> GeneralFallbacks | None:
    named = config.named_fallbacks()
    otherwise = named.pop("*", ()) or (
        config.router_settings.default_fallbacks or config.litellm_settings.default_fallbacks
    )
    return GeneralFallbacks(otherwise, named, config.alias_map()) if otherwise else None


def as_configured(defaults: Sequence[object], config: GatewayConfig, limits: Limits) -> Iterator[object]:
    """The plugins that are always there, as the file wants them."""
    for plugin in defaults:
        if isinstance(plugin, Telemetry):
            if config.telemetry.spans or config.telemetry.metrics:
                yield Telemetry(**config.telemetry.for_telemetry())
        elif isinstance(plugin, Limits):
            yield limits
        elif isinstance(plugin, Failover):
            yield _failover(config)
        elif isinstance(plugin, Patience):
            yield Patience(**config.failover.for_patience())
        elif isinstance(plugin, LedgerAccounting):
            yield LedgerAccounting(required=config.ledger.required)
        else:
            yield plugin


def _failover(config: GatewayConfig) -> Failover:
    """As the file wants it; `failover:` wins over LiteLLM's `num_retries`."""
    retries = config.num_retries
    attempts = {} if retries is None else {"max_attempts": retries + 1}
    return Failover(
        **{**attempts, **config.failover.for_failover()},
        context_window=config.context_window_fallbacks,
        content_policy=config.content_policy_fallbacks,
    )
