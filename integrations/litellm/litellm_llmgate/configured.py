"""A gateway for a host that has deployments, a strategy and fallbacks of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from litellm_llmgate.ungated import PASSES, Ungated
from llmgate_plugins import Gateway
from llmgate_plugins.config import (
    LiteLLMSettings,
    RouterSettings,
    load_config,
)

__all__ = ["set_up"]

Entry = Mapping[str, Any]

NOBODY = [{"model_name": "none", "litellm_params": {"model": "openai/none"}}]
"""Stands for a host whose deployments are not known yet."""

FACTS = ("id", "region", "data_classes", "terms", "capabilities", "base_model", "tier")
"""What `model_info` says of a deployment that policies may refer to."""
PLACES = ("model", "custom_llm_provider", "region_name", "aws_region_name", "vertex_location")
"""The parameters that say where a deployment is, and nothing secret."""


def set_up(
    gateway_or_config: Gateway | str | Path | Mapping[str, Any], entries: Iterable[Entry] = ()
) -> tuple[Gateway, Ungated]:
    """The gateway itself, or one built from a configuration; and what becomes of calls that pass by it.

    Of a LiteLLM `config.yaml` only what a gateway adds is taken: strategy, aliases and
    fallbacks stay LiteLLM's.

    Args:
        gateway_or_config: A gateway, a file, or a mapping. `model_list` may be left out.
        entries: The host's deployments: names that policies may refer to.

    Raises:
        ConfigurationError: With every mistake in it.
    """
    if isinstance(gateway_or_config, Gateway):
        return gateway_or_config, Ungated(PASSES)
    named = [_named(entry) for entry in entries] or NOBODY
    config = load_config(gateway_or_config, model_list=named)
    settings = RouterSettings(num_retries=config.num_retries)
    config = config.model_copy(update={"router_settings": settings, "litellm_settings": LiteLLMSettings()})
    built: Any = config  # what `load_config` returned is accepted as well
    return Gateway.from_config(built, check_secrets=False), Ungated(config.ungated)


def _named(entry: Entry) -> dict[str, Any]:
    """What policies may refer to: names, places and capabilities. No key leaves the host."""
    info, params = entry.get("model_info") or {}, entry["litellm_params"]
    facts = {name: info[name] for name in FACTS if info.get(name) is not None}
    if "id" in facts:
        facts["id"] = str(facts["id"])
    return {
        "model_name": entry["model_name"],
        "litellm_params": {name: params[name] for name in PLACES if params.get(name) is not None},
        "model_info": facts,
    }
