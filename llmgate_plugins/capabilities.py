"""What a deployment is known not to be able to do."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.types import Deployment

__all__ = ["lacks"]

_FLAGS: Final = {
    "tools": "supports_function_calling",
    "json_schema": "supports_response_schema",
    "audio_input": "supports_audio_input",
    "pdf_input": "supports_pdf_input",
    "vision": "supports_vision",
    "reasoning": "supports_reasoning",
}
"""Capability -> what LiteLLM's `model_info` calls it."""


def lacks(deployment: Deployment, capability: str) -> bool:
    """Whether the deployment is known not to have this capability. Silence is no knowledge.

    It is known where the deployment's capabilities are listed and this one is not among
    them. A list that was put together from single flags in `info` (`supports_vision: true`)
    says nothing of the others; a flag that is false says so itself.
    """
    if capability in deployment.capabilities:
        return False
    info = deployment.info
    if info:
        flag = info.get(_FLAGS.get(capability, f"supports_{capability}"))
        if isinstance(flag, bool):
            return not flag
        if any(name.startswith("supports_") for name in info):
            return False
    return bool(deployment.capabilities)
