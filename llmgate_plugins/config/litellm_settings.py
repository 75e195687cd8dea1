"""LiteLLM's own sections: what of them has a meaning here, and what is left aside and said so."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field

from llmgate_plugins.config.deployment_config import Count, Name
from llmgate_plugins.config.quantities import Duration
from llmgate_plugins.config.section import Section
from llmgate_plugins.errors import Problem

__all__ = [
    "FOREIGN_SECTIONS",
    "FallbackList",
    "LiteLLMSettings",
    "RouterSettings",
    "Setting",
    "leave_aside",
]

Path = tuple[str | int, ...]

_STRATEGIES: Final[Mapping[str, str]] = {
    "simple-shuffle": "weighted",
    "cost-based-routing": "cheapest",
    "latency-based-routing": "fastest",
}

FOREIGN_SECTIONS: Final[Mapping[str, str]] = {
    "general_settings": "settings of the LiteLLM proxy's server",
    "callback_settings": "settings of the LiteLLM proxy's callbacks",
    "guardrails": "LiteLLM's guardrails",
    "policy_attachments": "LiteLLM's policy engine",
    "mcp_servers": "MCP servers of the LiteLLM proxy",
    "mcp_tools": "MCP tools of the LiteLLM proxy",
    "mcp_aliases": "MCP aliases of the LiteLLM proxy",
    "prompts": "prompts of the LiteLLM proxy",
    "vector_store_registry": "vector stores of the LiteLLM proxy",
    "search_tools": "search tools of the LiteLLM proxy",
    "sandbox_tools": "sandbox tools of the LiteLLM proxy",
    "agents": "agents of the LiteLLM proxy",
    "agent_list": "agents of the LiteLLM proxy",
    "assistant_settings": "assistants of the LiteLLM proxy",
    "files_settings": "file stores of the LiteLLM proxy",
    "finetune_settings": "fine-tuning of the LiteLLM proxy",
    "default_vertex_config": "Vertex defaults of the LiteLLM proxy",
    "pass_through_endpoints": "pass-through of the LiteLLM proxy",
    "worker_registry": "workers of the LiteLLM proxy",
    "include": "further files of the LiteLLM proxy",
}
"""Sections of a LiteLLM file that say nothing to a gateway inside a program."""

_FOREIGN_POLICY_KEYS: Final = frozenset({"inherit", "guardrails", "condition", "pipeline", "description"})


def _fallback_map(value: Any) -> Any:
    """LiteLLM's list of one-key mappings as one mapping; a plain mapping is taken as it is."""
    if not isinstance(value, list | tuple):
        return value
    merged: dict[Any, Any] = {}
    for entry in value:
        if not isinstance(entry, Mapping):
            return value  # the type error then names the whole list
        for source, targets in entry.items():
            merged.setdefault(source, []).extend(_target_names(targets))
    return merged


def _target_names(targets: Any) -> list[Any]:
    listed = targets if isinstance(targets, list | tuple) else [targets]
    return [
        target["model"] if isinstance(target, Mapping) and "model" in target else target for target in listed
    ]


def _alias_targets(value: Any) -> Any:
    """LiteLLM's {name: {model: ..., hidden: ...}} as {name: model}."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: target["model"] if isinstance(target, Mapping) and "model" in target else target
        for name, target in value.items()
    }


FallbackList = Annotated[
    Mapping[str, tuple[Name, ...]],
    BeforeValidator(
        _fallback_map,
        json_schema_input_type=Mapping[str, Name | Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    ),
]
"""Alias -> aliases to fall back to; also in LiteLLM's form, a list of one-key mappings."""


class Setting(Section):
    """What LiteLLM's two settings sections have in common."""

    num_retries: Count | None = Field(None, ge=0, description="Retries after a failed attempt.")
    fallbacks: FallbackList = Field(
        default_factory=dict, description="Alias -> aliases to fall back to, in order."
    )
    default_fallbacks: tuple[Name, ...] = Field(
        (), description="Aliases to fall back to where `fallbacks` says nothing."
    )
    context_window_fallbacks: FallbackList = Field(
        default_factory=dict, description="Alias -> aliases to use when the prompt is too long."
    )
    content_policy_fallbacks: FallbackList = Field(
        default_factory=dict, description="Alias -> aliases to use when the provider refuses the content."
    )


class ProviderBudget(Section):
    """What one provider may cost, in LiteLLM's own shape."""

    max_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        validation_alias=AliasChoices("max_budget", "budget_limit"), description="US dollars."
    )
    budget_duration: str = Field(
        validation_alias=AliasChoices("budget_duration", "time_period"), description='Per "1d", "12h", "1mo".'
    )


class RouterSettings(Setting):
    """LiteLLM's `router_settings`, as far as they have a meaning here."""

    routing_strategy: str | None = Field(
        None,
        description="simple-shuffle is `prefer: weighted`, cost-based-routing is cheapest, "
        "latency-based-routing is fastest; others are left to LiteLLM's router.",
    )
    timeout: Duration | None = Field(None, description="Longest time for one attempt.")
    retry_after: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Shortest wait before a retry, in seconds."
    )
    model_group_alias: Annotated[
        Mapping[str, Name],
        BeforeValidator(_alias_targets, json_schema_input_type=Mapping[str, Name | Mapping[str, Any]]),
    ] = Field(default_factory=dict, description="Other name -> alias, or {model: alias, hidden: true}.")
    provider_budget_config: Mapping[str, ProviderBudget] = Field(
        default_factory=dict, description="Provider -> a hard budget of it."
    )

    @property
    def preference(self) -> str | None:
        """The strategy as a policy's `prefer`; None if it is not named or has no counterpart."""
        return _STRATEGIES.get(self.routing_strategy or "")


class CustomProvider(Section):
    """A provider that the application brings itself, in LiteLLM's own shape."""

    model_config = ConfigDict(extra="ignore")

    provider: Name = Field(description="The name models use as their provider.")


class LiteLLMSettings(Setting):
    """LiteLLM's `litellm_settings`, as far as they have a meaning here."""

    request_timeout: Duration | None = Field(None, description="Longest time for one attempt.")
    drop_params: bool | None = Field(
        None, description="Whether parameters a provider does not know are left out instead of refused."
    )
    model_alias_map: Mapping[str, Name] = Field(default_factory=dict, description="Other name -> alias.")
    custom_provider_map: tuple[CustomProvider, ...] = Field(
        (), description="Providers the application brings itself; only their names are read."
    )


def leave_aside(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Path, Problem]]]:
    """The document without what has no meaning here, and a note on each thing left out.

    Pure: `raw` is not changed. Notes have no file and line yet.
    """
    kept = dict(raw)
    notes: list[tuple[Path, Problem]] = []
    for name, what in FOREIGN_SECTIONS.items():
        if name in kept and kept.pop(name) is not None:
            notes.append(_note((name,), f"{what}: no meaning here, ignored"))
    for name, section in (("router_settings", RouterSettings), ("litellm_settings", LiteLLMSettings)):
        if isinstance(kept.get(name), Mapping):
            kept[name], found = _known_settings(name, kept[name], section)
            notes += found
    if isinstance(kept.get("policies"), Mapping):
        kept["policies"], found = _own_policies(kept["policies"])
        notes += found
    notes += _retries_of_deployments(kept)
    return kept, notes


def _known_settings(
    name: str, settings: Mapping[str, Any], section: type[Section]
) -> tuple[dict[str, Any], list[tuple[Path, Problem]]]:
    known = {key: value for key, value in settings.items() if key in section.model_fields}
    notes = []
    for key, value in settings.items():
        if key in known or value is None:
            continue
        close = difflib.get_close_matches(str(key), section.model_fields, n=1, cutoff=0.75)
        remedy = f"did you mean {close[0]}?" if close else ""
        notes.append(_note((name, key), "no meaning here, ignored", remedy))
    strategy = known.get("routing_strategy")
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        close = difflib.get_close_matches(strategy, _STRATEGIES, n=1, cutoff=0.8)
        remedy = f"did you mean {close[0]}?" if close else "write prefer: under policies, default"
        notes.append(
            _note((name, "routing_strategy"), "this strategy has no counterpart here, ignored", remedy)
        )
    return known, notes


def _own_policies(policies: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Path, Problem]]]:
    """LiteLLM's policy engine has a section of the same name; its entries are told by their keys."""
    foreign = [
        name
        for name, policy in policies.items()
        if isinstance(policy, Mapping) and policy and policy.keys() <= _FOREIGN_POLICY_KEYS
    ]
    kept = {name: policy for name, policy in policies.items() if name not in foreign}
    return kept, [
        _note(("policies", name), "a policy of LiteLLM's policy engine: no meaning here, ignored")
        for name in foreign
    ]


def _retries_of_deployments(raw: Mapping[str, Any]) -> Iterator[tuple[Path, Problem]]:
    entries = raw.get("model_list")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        for name in ("max_retries", "num_retries"):
            if isinstance(params, Mapping) and params.get(name):
                yield _note(
                    ("model_list", index, "litellm_params", name),
                    "ignored: retries belong to the gateway, not to one deployment",
                    "use router_settings: num_retries, or a policy's max_attempts",
                )


def _note(path: Path, message: str, remedy: str = "") -> tuple[Path, Problem]:
    return path, Problem(message=message, remedy=remedy, severity="warning")
