"""The whole file as one typed value, and the views a gateway is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.alerts_config import AlertsConfig
from llmgate_plugins.config.deployment_config import DeploymentConfig, Name
from llmgate_plugins.config.experiment_config import ExperimentConfig
from llmgate_plugins.config.failover_config import FailoverConfig
from llmgate_plugins.config.ledger_config import LedgerConfig, WrittenLedger
from llmgate_plugins.config.limit_config import BudgetConfig, LimitConfig
from llmgate_plugins.config.litellm_settings import FallbackList, LiteLLMSettings, RouterSettings
from llmgate_plugins.config.plugin_config import PluginConfig
from llmgate_plugins.config.policy_config import PolicyConfig
from llmgate_plugins.config.price_config import PriceOverride
from llmgate_plugins.config.problems import Locator
from llmgate_plugins.config.rule_config import RuleConfig
from llmgate_plugins.config.section import Section
from llmgate_plugins.config.shadow_config import ShadowConfig, ShadowPolicyConfig
from llmgate_plugins.config.shielding import Free
from llmgate_plugins.config.telemetry_config import TelemetryConfig, WrittenTelemetry
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.policies import Policy, settled
from llmgate_plugins.secrets import Secret
from llmgate_plugins.state import check_state

__all__ = ["CredentialConfig", "GatewayConfig"]

_SQLITE: Final = "sqlite:///"


def _not_empty(entries: tuple[DeploymentConfig, ...]) -> tuple[DeploymentConfig, ...]:
    # pydantic's own check counts only valid entries, and so complains twice.
    if not entries:
        raise PydanticCustomError("no_entries", "is empty; name at least one deployment")
    return entries


def _state(value: Secret | None) -> Secret | None:
    if value is None or value.reference is not None:
        return value
    url = value.look_up()
    try:
        check_state(url)
    except ConfigurationError as error:
        raise PydanticCustomError("state", "{why}", {"why": str(error)}) from None
    return None if url == "memory" else value  # which is no secret


def _texts(value: Any) -> Any:
    """Environment variables are text, also where the file has a number or nothing."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: str(inner) if isinstance(inner, int | float) else inner
        for name, inner in value.items()
        if inner is not None
    }


def _several(value: Any) -> Any:
    """One section may stand without a list around it."""
    return [value] if isinstance(value, Mapping) else value


Secrets = Annotated[
    Mapping[str, Secret],
    BeforeValidator(_texts, json_schema_input_type=Mapping[str, str | float | bool | None]),
]
"""Names and their secret values."""


class CredentialConfig(Section):
    """A set of credentials that deployments refer to by name, in LiteLLM's own shape."""

    credential_name: Name = Field(description="The name deployments use as `litellm_credential_name`.")
    credential_values: Secrets = Field(description="Parameters for `litellm_params`: api_key, api_base ...")
    credential_info: Mapping[str, Free] = Field(default_factory=dict, description="Free remarks.")


class GatewayConfig(Section):
    """What a gateway is built from. Read one with `load_config`."""

    model_list: Annotated[tuple[DeploymentConfig, ...], AfterValidator(_not_empty)] = Field(
        description="The deployments, as in LiteLLM.", json_schema_extra={"minItems": 1}
    )
    policies: Mapping[str, PolicyConfig] = Field(
        default_factory=dict, description="Named policies; `default` applies where the context names none."
    )
    rules: tuple[RuleConfig, ...] = Field(
        (), description="Which policy calls are under where the context names none; first match wins."
    )
    experiments: Mapping[str, ExperimentConfig] = Field(
        default_factory=dict, description="Questions put to live traffic: A/B, canaries."
    )
    shadow: Annotated[tuple[ShadowConfig, ...], BeforeValidator(_several)] = Field(
        (), description="Copies of calls that nobody waits for; one, or a list."
    )
    shadow_policy: Annotated[tuple[ShadowPolicyConfig, ...], BeforeValidator(_several)] = Field(
        (), description="Policies that are asked what they would have done; one, or a list."
    )
    budgets: tuple[BudgetConfig, ...] = Field((), description="How much may be spent.")
    limits: tuple[LimitConfig, ...] = Field(
        (), description="How much may be used: requests, tokens, calls at once, money."
    )
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="What alerts, and who is told.")
    aliases: Mapping[str, Name] = Field(default_factory=dict, description="Other name -> alias.")
    fallbacks: FallbackList = Field(
        default_factory=dict,
        description='Alias -> aliases to fall back to, in order; "*" for every alias not named.',
    )
    failover: FailoverConfig = Field(
        default_factory=FailoverConfig,
        description="Retries, time limits, hedges, and what becomes of a stream that breaks.",
    )
    prices: Mapping[str, PriceOverride] = Field(
        default_factory=dict, description='"provider/model" -> its prices, over those of the catalogue.'
    )
    tokens: Literal["estimated", "counted"] = Field(
        "estimated",
        description="What limits hold for a prompt: the most it can have by its length, or, for models whose "
        "token table is on this machine (extra `tokens`), what it has.",
    )
    plugins: tuple[PluginConfig, ...] = Field(
        (), description="Installed plugins that may be loaded, in the order they run."
    )
    state: Annotated[Secret | None, AfterValidator(_state)] = Field(
        None,
        description="Where counters and reservations are kept: memory, or redis://HOST:6379/0 and the "
        "like, shared by processes; or a reference to it (os.environ/REDIS_URL).",
        json_schema_extra={"default": "memory"},
    )
    ledger: WrittenLedger = Field(
        default_factory=LedgerConfig,
        description="Where attempts are booked: memory, sqlite:///PATH, postgresql://HOST/DATABASE, or a "
        "section that says more.",
    )
    telemetry: WrittenTelemetry = Field(
        default_factory=TelemetryConfig,
        description="What OpenTelemetry is told where an SDK is set up; `false`: nothing.",
    )
    live_statistics: bool = Field(
        False,
        strict=True,
        description="Whether `gateway.live()` tells how the last minutes and hours of this process were.",
    )
    ungated: Literal["pass", "refuse"] | tuple[Name, ...] = Field(
        "pass",
        description="What becomes of calls in a LiteLLM router or proxy that do not go through the gateway "
        "(files, batches, realtime sessions ...): pass, refuse, or the names of those that pass while all "
        "others are refused: [aretrieve_batch].",
    )
    router_settings: RouterSettings = Field(
        default_factory=RouterSettings, description="LiteLLM's router settings."
    )
    litellm_settings: LiteLLMSettings = Field(
        default_factory=LiteLLMSettings, description="LiteLLM's module settings."
    )
    environment_variables: Secrets = Field(
        default_factory=dict,
        description="Values for os.environ/NAME references of this file; they win over the environment, "
        "and are not put into it.",
    )
    credential_list: tuple[CredentialConfig, ...] = Field(
        (), description="Sets of credentials that deployments refer to by name."
    )

    _warnings: tuple[Problem, ...] = PrivateAttr(default=())
    _ignored: tuple[Problem, ...] = PrivateAttr(default=())
    _locator: Locator = PrivateAttr(default_factory=Locator)

    @property
    def file(self) -> str | None:
        """The file it was read from, if any."""
        return self._locator.file

    @property
    def locator(self) -> Locator:
        """Where its parts stand in the file, for messages. Holds no values."""
        return self._locator

    def state_url(self) -> str:
        """Where the state is, a reference followed.

        Raises:
            SecretNotFound: The reference leads nowhere.
        """
        if self.state is None:
            return "memory"
        reference = self.state.reference or ""
        name = reference.removeprefix("os.environ/").removeprefix("env:")
        own = self.environment_variables.get(name) if name != reference else None
        return (own or self.state).look_up()

    @property
    def ignored(self) -> tuple[Problem, ...]:
        """Settings that have no meaning here, each said once."""
        return self._ignored

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What works but should be known, such as a key written into the file."""
        return self._warnings

    def _remember(self, ignored: tuple[Problem, ...], warnings: tuple[Problem, ...]) -> None:
        self._ignored = ignored
        self._warnings = warnings

    @property
    def model_names(self) -> tuple[str, ...]:
        """The aliases of the `model_list`, wildcards left out, in order of first use."""
        return tuple(dict.fromkeys(d.model_name for d in self.model_list if not d.is_wildcard))

    @property
    def default_policy(self) -> PolicyConfig:
        """The policy `default`; what it leaves open follows LiteLLM's routing strategy."""
        policy = self.policies.get("default", PolicyConfig())
        if policy.prefer is None and self.router_settings.preference is not None:
            return policy.model_copy(update={"prefer": self.router_settings.preference})
        return policy

    def named_policies(self) -> dict[str, Policy]:
        """Every policy as the plugin takes it, versions settled; empty if there is none.

        Raises:
            ValueError: Targets lead nowhere or in a circle.
        """
        policies = dict(self.policies)
        if "default" in policies or (policies and self.router_settings.preference):
            policies["default"] = self.default_policy
        return settled({name: one.policy() for name, one in policies.items()})

    @property
    def num_retries(self) -> int | None:
        """Retries as LiteLLM's sections say; the router's word wins. None if neither says."""
        retries = self.router_settings.num_retries
        return retries if retries is not None else self.litellm_settings.num_retries

    @property
    def attempt_timeout(self) -> float | None:
        """Seconds for one attempt as LiteLLM's sections say; None if neither says."""
        return self.router_settings.timeout or self.litellm_settings.request_timeout

    @property
    def ledger_path(self) -> str | None:
        """The ledger's SQLite file; None for every other kind."""
        url = self.ledger.url if isinstance(self.ledger.url, str) else ""
        return url.partition("?")[0].removeprefix(_SQLITE) if url.startswith(_SQLITE) else None

    def price_overrides(self) -> dict[str, dict[str, Any]]:
        """`prices` in the form the catalogue takes as its overrides."""
        return {name: override.model_dump(exclude_none=True) for name, override in self.prices.items()}

    def alias_map(self) -> dict[str, str]:
        """Other name -> alias, from all sections, chains followed to their end.

        A name that `model_list` has too is left out: there the deployments win.
        """
        written = {
            **self.litellm_settings.model_alias_map,
            **self.router_settings.model_group_alias,
            **self.aliases,
        }
        names = set(self.model_names)
        direct = {name: target for name, target in written.items() if name not in names}
        resolved = {}
        for name in direct:
            target, seen = direct[name], {name}
            while target in direct and target not in seen:
                seen.add(target)
                target = direct[target]
            resolved[name] = target
        return resolved

    def fallback_map(self, policy: str = "default") -> dict[str, tuple[str, ...]]:
        """Alias -> aliases to fall back to under this policy, from all sections.

        What is said for an alias by name wins over the policy's `fallback_to`, and that
        over the defaults ("*", `default_fallbacks`). An alias never falls back to itself.
        """
        named = self.named_fallbacks()
        rules = self.policies.get(policy, PolicyConfig())
        general = rules.fallback_to or named.get("*", ()) or self._default_fallbacks()
        aliases = dict.fromkeys((*self.model_names, *named))
        aliases.pop("*", None)
        chains = {
            alias: tuple(dict.fromkeys(target for target in named.get(alias, general) if target != alias))
            for alias in aliases
        }
        return {alias: chain for alias, chain in chains.items() if chain}

    def named_fallbacks(self) -> dict[str, tuple[str, ...]]:
        """Fallbacks as written under an alias's name, from all sections."""
        return {
            **self.litellm_settings.fallbacks,
            **self.router_settings.fallbacks,
            **self.fallbacks,
        }

    @property
    def context_window_fallbacks(self) -> Mapping[str, tuple[str, ...]]:
        """Alias -> aliases for prompts that are too long, from all sections."""
        return {
            **self.litellm_settings.context_window_fallbacks,
            **self.router_settings.context_window_fallbacks,
            **self.failover.context_window,
        }

    @property
    def content_policy_fallbacks(self) -> Mapping[str, tuple[str, ...]]:
        """Alias -> aliases for content a provider refuses, from all sections."""
        return {
            **self.litellm_settings.content_policy_fallbacks,
            **self.router_settings.content_policy_fallbacks,
            **self.failover.content_policy,
        }

    def _default_fallbacks(self) -> tuple[str, ...]:
        return self.router_settings.default_fallbacks or self.litellm_settings.default_fallbacks
