"""From a configuration to everything a gateway is built with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmgate_plugins._configured_alerts import alerting_of, channels_of, watchers_of
from llmgate_plugins._configured_limits import configured_limits
from llmgate_plugins._discovery import Allowed, installed, load_allowed
from llmgate_plugins.catalog import Catalog
from llmgate_plugins.config import (
    GatewayConfig,
    LedgerConfig,
    StoreContentConfig,
    build_deployments,
    load_config,
)
from llmgate_plugins.config.experiment_checks import experiment_of
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.ledger import Retention, open_ledger
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
    default_plugins,
    with_places,
)
from llmgate_plugins.plugins.shadow import Shadow, ShadowPolicies, ShadowPolicy, ShadowTraffic
from llmgate_plugins.services import Ledger, SystemClock
from llmgate_plugins.state import open_state
from llmgate_plugins.transports import default_transport
from llmgate_plugins.types import EMPTY, Deployment, Request
from llmgate_plugins.usage import prepare_counting

__all__ = ["GeneralFallbacks", "assemble"]

DEADLINE = 600.0
"""Seconds a call may take where configuration says nothing, as of the gateway."""

_PREFERENCES = {"ordered": InOrder, "weighted": Weighted, "cheapest": Cheapest, "fastest": Fastest}


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
    built-in ones. A built-in one among
    those given keeps its place among the built-in ones.

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
    catalog = given.get("catalog") or Catalog(overrides=config.price_overrides())
    deployments = [
        _with_defaults(one, config) for one in build_deployments(config, catalog, secrets=check_secrets)
    ]
    if config.tokens == "counted":
        _count_tokens(config)
    limits = configured_limits(config, deployments)
    tuned = _tuned(config, default_plugins() if given.pop("defaults", True) else (), limits)
    plugins = [*plugins, *_from_file(config), *channels_of(config)]
    if limits.limits and any(isinstance(one, Limits) for one in plugins):
        path = next((name for name in ("budgets", "limits") if getattr(config, name)), "router_settings")
        message = "limits stand in the file, and in the program as well"
        raise ConfigurationError(
            problems=[config.locator.problem((path,), message, "keep them in one place")]
        )
    own, built_in = with_places(plugins, tuned)
    made: dict[str, Any] = {
        "deployments": deployments,
        "plugins": [
            *own,
            *_sections(config, deployments),
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


class GeneralFallbacks:
    """Where to go on for an alias that has no fallbacks of its own: `default_fallbacks`, or "*".

    They are one flat list for all aliases, unlike named fallbacks, which lead from alias
    to alias. What the application or a policy asks for wins.

    Args:
        otherwise: Aliases, in order.
        named: Aliases that have fallbacks of their own.
        aliases: Other name -> alias.
    """

    def __init__(
        self, otherwise: Sequence[str], named: Iterable[str] = (), aliases: Mapping[str, str] = EMPTY
    ) -> None:
        self._otherwise = tuple(otherwise)
        self._named = frozenset(named)
        self._aliases = dict(aliases)

    @hookimpl
    def admit_request(self, request: Request) -> Request | None:
        """Write them into a request that names none."""
        if request.fallbacks is not None or self._aliases.get(request.model, request.model) in self._named:
            return None
        return request.replace(fallbacks=self._otherwise)


def _sections(config: GatewayConfig, deployments: Sequence[Deployment]) -> Iterator[object]:
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


def _tuned(config: GatewayConfig, defaults: Sequence[object], limits: Limits) -> Iterator[object]:
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


def _ledger(config: LedgerConfig) -> Ledger:
    kept, contents = config.retention, config.content_retention
    return open_ledger(
        config.address,
        durability=config.durability,
        outbox=config.outbox,
        retention=Retention(default=kept.default, tenants=kept.tenants),
        content_retention=Retention(default=contents.default, tenants=contents.tenants),
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


def _with_defaults(deployment: Deployment, config: GatewayConfig) -> Deployment:
    """What LiteLLM's sections say for all deployments, where one says nothing itself."""
    general = {"timeout": config.attempt_timeout, "drop_params": config.litellm_settings.drop_params}
    options = deployment.endpoint.options
    missing = {name: value for name, value in general.items() if value is not None and name not in options}
    if not missing:
        return deployment
    return replace(deployment, endpoint=replace(deployment.endpoint, options={**missing, **options}))


def _from_file(config: GatewayConfig) -> list[object]:
    allowed = []
    problems: list[Problem] = []
    for index, one in enumerate(config.plugins):
        version = one.version
        try:
            version = _exact(one.name, one.dist, version)
        except ValueError as error:
            path = ("plugins", index, "version")
            problems.append(config.locator.problem(path, str(error), "allow one version: 1.2.0"))
        allowed.append(Allowed(name=one.name, dist=one.dist, version=version, options=one.options))
    if problems:
        raise ConfigurationError(problems=problems)
    return load_allowed(allowed)


def _exact(name: str, dist: str | None, version: str | None) -> str | None:
    """The one installed version that a range allows; what is no range stays as it is.

    Raises:
        ValueError: It is no range, or the installed version is outside.
    """
    if version is None or not any(sign in version for sign in "<>~!*,"):
        return version
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        raise ValueError(f"the range {version!r} needs the package packaging to be read") from None
    try:
        allowed = SpecifierSet(version)
    except InvalidSpecifier:
        raise ValueError(f"{version!r} is no range of versions") from None
    there = [one for one in installed() if one.name == name and dist in (None, one.dist)]
    for one in there:
        if allowed.contains(one.version):
            return one.version
    found = ", ".join(f"{one.dist} {one.version}" for one in there) or "nothing of that name"
    raise ValueError(f"allowed is {version}, installed is {found}")
