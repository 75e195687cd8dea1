"""What every deployment of an alias can do, as LangChain's model profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from langchain_llmgate._fleet import Fleet
from llmgate_plugins.types import Deployment

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["profile_of"]

CAPABILITIES: Final = {
    "tool_calling": "tools",
    "tool_choice": "tool_choice",
    "structured_output": "json_schema",
    "image_inputs": "vision",
    "pdf_inputs": "pdf_input",
    "audio_inputs": "audio_input",
    "audio_outputs": "audio_output",
    "video_inputs": "video_input",
    "reasoning_output": "reasoning",
}
"""LangChain's word -> the catalogue's."""


def profile_of(gateway: Gateway, fleet: Fleet, alias: str) -> dict[str, Any] | None:
    """What all deployments of the alias have in common; None if one of them is unknown."""
    profiles: list[Mapping[str, Any]] = []
    for deployment in gateway.deployments_of(alias):
        model = fleet.given(deployment.id)
        profile = (model.profile if model is not None else None) or _described(deployment)
        if profile is None:
            return None
        profiles.append(profile)
    return _common(profiles)


def _described(deployment: Deployment) -> dict[str, Any] | None:
    if not deployment.capabilities and deployment.context_window is None:
        return None
    profile: dict[str, Any] = {
        name: capability in deployment.capabilities for name, capability in CAPABILITIES.items()
    }
    if deployment.context_window is not None:
        profile["max_input_tokens"] = deployment.context_window
    if deployment.max_output is not None:
        profile["max_output_tokens"] = deployment.max_output
    return profile


def _common(profiles: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What holds for all: abilities that all have, the smallest sizes, values that are equal."""
    shared: Iterable[str] = [key for key in profiles[0] if all(key in profile for profile in profiles)]
    common: dict[str, Any] = {}
    for key in shared:
        values = [profile[key] for profile in profiles]
        if all(isinstance(value, bool) for value in values):
            common[key] = all(values)
        elif all(isinstance(value, int) for value in values):
            common[key] = min(values)
        elif all(isinstance(value, list) for value in values):
            common[key] = [item for item in values[0] if all(item in value for value in values)]
        elif all(value == values[0] for value in values):
            common[key] = values[0]
    return common
