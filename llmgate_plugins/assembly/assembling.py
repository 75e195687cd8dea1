"""Builds what a configuration says, and what it leaves to the application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmgate_plugins.assembly.alerts import alerting_of, channels_of, watchers_of
from llmgate_plugins.assembly.built_in import as_configured, sections_of
from llmgate_plugins.assembly.limits import configured_limits
from llmgate_plugins.assembly.loaded import loaded_plugins
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.config import (
    GatewayConfig,
    LedgerConfig,
    build_deployments,
    load_config,
    missing_secrets,
)
from llmgate_plugins.config.plugin_checks import Found, allowed_plugins, plugin_problems
from llmgate_plugins.config.problems import in_order
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.ledger import Retention, open_ledger
from llmgate_plugins.plugins import (
    Limits,
    default_plugins,
    listed,
    with_places,
)
from llmgate_plugins.services import Ledger, SystemClock
from llmgate_plugins.state import open_state
from llmgate_plugins.transports import default_transport
from llmgate_plugins.types import EMPTY, Deployment
from llmgate_plugins.usage import prepare_counting

__all__ = ["assemble"]

DEADLINE = 600.0
"""Seconds a call may take where configuration says nothing, as of the gateway."""


def assemble(
    source: str | Path | Mapping[str, Any] | GatewayConfig,
    *,
    plugins: Iterable[object] = (),
    services: Mapping[str, Any] = EMPTY,
    check_secrets: bool = True,
) -> dict[str, Any]:
    """Keyword arguments for `Gateway`.

    Plugins run in this order: those given here, those the file names, channels for alerts,
    policies or LiteLLM's routing strategy, general fallbacks, what watches for alerts, the
    built-in ones. A built-in one among those given keeps its place among the built-in ones.

    Args:
        source: A file, a mapping of the same shape, or what `load_config` returned.
        plugins: Run before all others.
        services: Further arguments of `Gateway`; they win over the file. `check_secrets`
            may stand here as well.
        check_secrets: Refuse if a reference to a secret leads nowhere. False leaves that
            to the first call that needs it.

    Raises:
        ConfigurationError: With every mistake found, each with file and line.
    """
    given = dict(services)
    check_secrets = given.pop("check_secrets", check_secrets)
    config = source if isinstance(source, GatewayConfig) else load_config(source)
    allowed = allowed_plugins(config)
    _refuse_what_is_missing(config, allowed, secrets=check_secrets)
    catalog = given.get("catalog") or Catalog(overrides=config.price_overrides())
    deployments = [_with_defaults(one, config) for one in build_deployments(config, catalog, secrets=False)]
    if config.tokens == "counted":
        _count_tokens(config)
    limits = configured_limits(config, deployments)
    tuned = as_configured(default_plugins() if given.pop("defaults", True) else (), config, limits)
    loaded = loaded_plugins(config, allowed)
    plugins = [*listed(plugins), *(one.plugin for one in loaded), *channels_of(config)]
    if limits.limits and any(isinstance(one, Limits) for one in plugins):
        path = next((name for name in ("budgets", "limits") if getattr(config, name)), "router_settings")
        message = "limits stand in the file, and in the program as well"
        raise ConfigurationError(
            problems=[config.locator.problem((path,), message, "keep them in one place")]
        )
    own, built_in = with_places(plugins, tuned)
    as_loaded = {id(one.plugin): one for one in loaded}
    made: dict[str, Any] = {
        "deployments": deployments,
        "plugins": [
            *(as_loaded.get(id(one), one) for one in own),
            *sections_of(config, deployments),
            *watchers_of(config, deployments, catalog),
            *built_in,
        ],
        "aliases": config.alias_map(),
        "fallbacks": {alias: to for alias, to in config.named_fallbacks().items() if alias != "*"},
        "deadline": max([DEADLINE, *(one.deadline for one in config.policies.values() if one.deadline)]),
        "on_break": config.failover.on_break,
        "catalog": catalog,
        "defaults": False,  # they stand among the plugins already, as the file wants them
    }
    if "transport" not in given:
        made["transport"] = default_transport(deployments, clock=given.get("clock") or SystemClock())
    if "alerts" not in given:
        made["alerts"] = alerting_of(config)
    if "ledger" not in given:
        made["ledger"] = _ledger(config.ledger)
    if "state" not in given:
        made["state"] = open_state(config.state_url(), clock=given.get("clock"), random=given.get("random"))
    return {**made, **given}


def _refuse_what_is_missing(config: GatewayConfig, plugins: Sequence[Found], *, secrets: bool) -> None:
    """Tell at once what the file names and this machine does not have.

    Raises:
        ConfigurationError: A plugin is not what is allowed, or a reference to a secret leads nowhere.
    """
    problems = [*plugin_problems(config, plugins), *(missing_secrets(config, usual=False) if secrets else ())]
    if problems:
        raise ConfigurationError(problems=in_order(problems))


def _count_tokens(config: GatewayConfig) -> None:
    """Have the token tables read.

    Raises:
        ConfigurationError: tiktoken is not installed.
    """
    if find_spec("tiktoken") is None:
        remedy = "pip install 'llmgate-plugins[tokens]', or write tokens: estimated"
        raise ConfigurationError(
            problems=[config.locator.problem(("tokens",), "tiktoken is not installed", remedy)]
        )
    prepare_counting()


def _ledger(config: LedgerConfig) -> Ledger:
    kept, contents = config.retention, config.content_retention
    return open_ledger(
        config.address,
        durability=config.durability,
        outbox=config.outbox,
        retention=Retention(default=kept.default, tenants=kept.tenants),
        content_retention=Retention(default=contents.default, tenants=contents.tenants),
    )


def _with_defaults(deployment: Deployment, config: GatewayConfig) -> Deployment:
    """What LiteLLM's sections say for all deployments, where one says nothing itself."""
    general = {"timeout": config.attempt_timeout, "drop_params": config.litellm_settings.drop_params}
    options = deployment.endpoint.options
    missing = {name: value for name, value in general.items() if value is not None and name not in options}
    if not missing:
        return deployment
    return replace(deployment, endpoint=replace(deployment.endpoint, options={**missing, **options}))
