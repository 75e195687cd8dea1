"""Mistakes that only show when sections are read together: names that lead nowhere, loops, duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from llmgate_plugins.config.deployment_config import DeploymentConfig
from llmgate_plugins.config.experiment_checks import check_experiments
from llmgate_plugins.config.gateway_config import GatewayConfig
from llmgate_plugins.config.limit_checks import check_limits
from llmgate_plugins.config.policy_checks import Known, check_policies
from llmgate_plugins.config.price_checks import price_problems
from llmgate_plugins.config.problems import Path, closest
from llmgate_plugins.config.providers import PROVIDERS, may_have_usual_key, split_model, usual_keys
from llmgate_plugins.config.shadow_checks import check_shadows
from llmgate_plugins.config.shielding import is_placeholder, secrets_in
from llmgate_plugins.errors import Problem

__all__ = ["REGION_NAMES", "cross_check", "region_of", "registered_providers"]

_OWN: Final = "error"
# What LiteLLM lets pass in its own sections works here as well as there, so it is only said.
_LITELLM: Final = "warning"


REGION_NAMES: Final = ("region_name", "aws_region_name", "vertex_location")
"""Parameters that say where a deployment runs; `model_info.region` wins over them."""


def cross_check(config: GatewayConfig) -> list[Problem]:
    """Every such mistake, errors and warnings, in the order of the file."""
    check = _CrossCheck(config)
    return sorted(check.problems(), key=lambda problem: problem.line or 0)


def region_of(deployment: DeploymentConfig) -> str | None:
    """The region a deployment declares, by any of the names LiteLLM has for it."""
    params = deployment.litellm_params
    declared = [deployment.model_info.region, *(getattr(params, name) for name in REGION_NAMES)]
    return next((region for region in declared if region), None)


class _CrossCheck:
    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.at = config.locator.problem
        self.aliases = config.alias_map()
        self.ids = {d.model_info.id for d in config.model_list if d.model_info.id}
        self.names = set(config.model_names)
        self.known = {*self.names, *self.aliases, *self.ids}
        self.registered = registered_providers(config)
        self.wildcards = [d for d in config.model_list if d.is_wildcard]

    def problems(self) -> Iterator[Problem]:
        checks: tuple[Callable[[], Iterator[Problem]], ...] = (
            self._duplicate_ids,
            self._deployments,
            self._written_keys,
            self._alias_names,
            self._fallback_names,
            self._fallback_loops,
            self._policies,
            self._channel_names,
            self._goals,
            lambda: check_limits(self.config, self.serves),
            lambda: check_experiments(self.config, self.serves),
            lambda: check_shadows(self.config, self.serves),
        )
        for check in checks:
            yield from check()
        yield from price_problems(self.config)

    def serves(self, name: str) -> bool:
        """Whether a call may ask for this name."""
        return name in self.known or any(wildcard.serving(name) for wildcard in self.wildcards)

    def _duplicate_ids(self) -> Iterator[Problem]:
        first: dict[str, Path] = {}
        for index, deployment in enumerate(self.config.model_list):
            name, path = deployment.model_info.id, ("model_list", index, "model_info", "id")
            if name is None:
                continue
            if name in first:
                line = self.config.locator.line_of(first[name])
                where = f"also on line {line}" if line else f"also at model_list[{first[name][1]}]"
                yield self.at(path, f"duplicate deployment id {name!r}, {where}", "every id is unique")
            first.setdefault(name, path)

    def _deployments(self) -> Iterator[Problem]:
        credentials = {credential.credential_name for credential in self.config.credential_list}
        for index, deployment in enumerate(self.config.model_list):
            params, path = deployment.litellm_params, ("model_list", index, "litellm_params")
            if not deployment.is_wildcard and not params.model.startswith("os.environ/"):
                yield from self._provider(deployment, path)
            name = params.litellm_credential_name
            if name is not None and name not in credentials:
                remedy = closest(name, credentials) or "add it to credential_list"
                yield self.at((*path, "litellm_credential_name"), f"no credential {name!r}", remedy)
            if params.api_base is not None:
                yield from self._address((*path, "api_base"), deployment)

    def _provider(self, deployment: DeploymentConfig, path: Path) -> Iterator[Problem]:
        if self._split(deployment) is not None:
            return
        first, slash, rest = deployment.litellm_params.model.partition("/")
        remedy = closest(first, PROVIDERS | self.registered, 0.75) if slash else ""
        remedy = remedy or "write provider/model, such as openai/gpt-4o-mini, or set custom_llm_provider"
        message = f"{first!r} is no known provider" if slash and rest else "its provider cannot be told"
        yield self.at((*path, "model"), message, remedy)

    def _address(self, path: Path, deployment: DeploymentConfig) -> Iterator[Problem]:
        address = deployment.litellm_params.api_base or ""
        unusable = () if address.startswith("os.environ/") else tuple(self._unusable(path, address))
        if unusable:
            yield from unusable
            return
        split = self._split(deployment)
        keyed = deployment.litellm_params.api_key or deployment.litellm_params.litellm_credential_name
        if split and not keyed and usual_keys(split[0]) and not may_have_usual_key(split[0], address):
            yield self.at(
                path,
                f"no key is sent to this address, {usual_keys(split[0])[0]} neither",
                "write api_key beside it if it needs one",
                severity="warning",
            )

    def _unusable(self, path: Path, address: str) -> Iterator[Problem]:
        try:
            parts = urlsplit(address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            named = parts.username is not None or parts.password is not None
            parts.port  # noqa: B018 - raises for a port that is none
        except ValueError:
            usable, named = False, False
        if not usable:
            yield self.at(path, "this is no address", "write https://host/path, or os.environ/NAME")
        elif named:
            yield self.at(
                path, "a user or password stands in the address", "give it as api_key or extra_headers"
            )

    def _written_keys(self) -> Iterator[Problem]:
        for index, deployment in enumerate(self.config.model_list):
            for section in ("litellm_params", "model_info"):
                values = dict(getattr(deployment, section))
                yield from self._literals(values, ("model_list", index, section))
        for index, plugin in enumerate(self.config.plugins):
            yield from self._literals(plugin.options, ("plugins", index, "options"))
        for index, channel in enumerate(self.config.alerts.channels):
            written = dict(channel)
            if channel.type == "webhook":
                del written["url"]  # what is signed may be sent to an address that all may know
            yield from self._literals(written, ("alerts", "channels", index))

    def _literals(self, values: Mapping[str, object], path: Path) -> Iterator[Problem]:
        for where, secret in secrets_in(values, path):
            if secret.reference is not None or is_placeholder(secret.reveal()):
                continue
            if secret.reveal().startswith("$"):
                message = "shell variables are not expanded"
            else:
                message = "a secret is written into the file"
            yield self.at(where, message, "write os.environ/NAME or file:PATH instead", severity="warning")

    def _alias_names(self) -> Iterator[Problem]:
        for path, names, severity in self._alias_sections():
            for name, target in names.items():
                here = (*path, name)
                if name in self.names:
                    yield self.at(
                        here,
                        f"alias {name!r} has the name of a model_name, which wins",
                        "rename one of them",
                        severity=severity,
                    )
                elif self._loops(name):
                    yield self.at(here, f"alias {name!r} leads back to itself", "let it lead to a model_name")
                elif not self.serves(target):
                    remedy = closest(target, self.known) or "name a model_name of model_list"
                    yield self.at(here, f"alias {name!r} leads to nothing: no {target!r}", remedy)

    def _alias_sections(self) -> Iterator[tuple[Path, Mapping[str, str], str]]:
        config = self.config
        yield ("aliases",), config.aliases, _OWN
        yield ("router_settings", "model_group_alias"), config.router_settings.model_group_alias, _LITELLM
        yield ("litellm_settings", "model_alias_map"), config.litellm_settings.model_alias_map, _LITELLM

    def _loops(self, name: str) -> bool:
        return self.aliases[name] in self.aliases  # a chain that ends nowhere ends in itself

    def _fallback_names(self) -> Iterator[Problem]:
        for path, fallbacks, severity in self._fallback_sections():
            for source, targets in fallbacks.items():
                here = (*path, source)
                if source != "*" and not self.serves(source):
                    yield self.at(
                        here,
                        f"no alias {source!r} that could fall back",
                        closest(source, self.known),
                        severity=severity,
                    )
                yield from self._targets(here, targets)
                if source in targets:
                    yield self.at(
                        here, f"{source!r} falls back to itself", "remove it there", severity=severity
                    )
        for section in ("router_settings", "litellm_settings"):
            yield from self._targets(
                (section, "default_fallbacks"), getattr(self.config, section).default_fallbacks
            )

    def _fallback_sections(self) -> Iterator[tuple[Path, Mapping[str, tuple[str, ...]], str]]:
        yield ("fallbacks",), self.config.fallbacks, _OWN
        for kind in ("context_window", "content_policy"):
            yield ("failover", kind), getattr(self.config.failover, kind), _OWN
        for section in ("router_settings", "litellm_settings"):
            for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
                yield (section, kind), getattr(getattr(self.config, section), kind), _LITELLM

    def _targets(self, path: Path, targets: Iterable[str]) -> Iterator[Problem]:
        for index, target in enumerate(targets):
            if not self.serves(target):
                remedy = closest(target, self.known) or "name a model_name of model_list"
                yield self.at((*path, index), f"falls back to nothing: no {target!r}", remedy)

    def _fallback_loops(self) -> Iterator[Problem]:
        """LiteLLM files often let two aliases stand in for each other; each is tried once per call."""
        named, told = self.config.named_fallbacks(), set[str]()
        for path, fallbacks, severity in self._fallback_sections():
            for source in fallbacks:
                if path[-1] != "fallbacks" or source in told:  # the other kinds are not followed on
                    continue
                loop = _loop_through(source, named)
                if len(loop) > 1:
                    told.update(loop)
                    chain = " -> ".join((*loop, source))
                    yield self.at(
                        (*path, source),
                        f"fallbacks run in a circle: {chain}",
                        "drop one of them",
                        severity=severity,
                    )

    def _policies(self) -> Iterator[Problem]:
        for name, policy in self.config.policies.items():
            yield from self._targets(("policies", name, "fallback_to"), policy.fallback_to)
        entries = self.config.model_list
        regions = frozenset(region for d in entries if (region := region_of(d)))
        providers = frozenset(self._provider_names())
        known = Known(
            serves=self.serves,
            aliases=self.aliases,
            providers=providers,
            selectors=providers | self._selectors(),
            regions=None if any(region.startswith("os.environ/") for region in regions) else regions,
            terms=frozenset(term for d in entries for term in d.model_info.terms),
        )
        yield from check_policies(self.config, known)

    def _channel_names(self) -> Iterator[Problem]:
        seen = set[str]()
        for index, channel in enumerate(self.config.alerts.channels):
            name = channel.name or ("the log" if channel.type == "log" else None)
            if name in seen:
                yield self.at(
                    ("alerts", "channels", index), f"there is another channel {name!r}", "rename one of them"
                )
            if name is not None:
                seen.add(name)

    def _goals(self) -> Iterator[Problem]:
        for index, goal in enumerate(self.config.alerts.slo):
            known = {"policy": {*self.config.policies, "default"}, "deployment": self.ids}.get(goal.by)
            if goal.name is not None and known is not None and goal.name not in known:
                yield self.at(
                    ("alerts", "slo", index, "name"),
                    f"no {goal.by} {goal.name!r}",
                    closest(goal.name, known),
                    severity="warning" if goal.by == "deployment" else "error",
                )

    def _provider_names(self) -> set[str]:
        return {split[0] for d in self.config.model_list if (split := self._split(d))}

    def _split(self, deployment: DeploymentConfig) -> tuple[str, str] | None:
        params = deployment.litellm_params
        return split_model(params.model, params.custom_llm_provider, self.registered)

    def _selectors(self) -> set[str]:
        return self.ids | {d.litellm_params.model for d in self.config.model_list}


def registered_providers(config: GatewayConfig) -> frozenset[str]:
    """Provider names the file itself brings, by `custom_llm_provider` and LiteLLM's `custom_provider_map`."""
    named = {d.litellm_params.custom_llm_provider for d in config.model_list}
    named |= {entry.provider for entry in config.litellm_settings.custom_provider_map}
    return frozenset(name for name in named if name)


def _loop_through(start: str, graph: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names on one way from `start` back to itself, `start` first; empty if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for target in graph.get(way[-1], ()):
            if target == start and len(way) > 1:
                return way
            if target not in seen:
                seen.add(target)
                ways.append((*way, target))
    return ()
