"""Asks for a stream's usage where the caller did not, and keeps it out of the caller's sight."""

from __future__ import annotations

from typing import Any

import litellm

from llmgate_plugins.types import Deployment

__all__ = ["UsageOnStreams", "hide_usage"]


class UsageOnStreams:
    """Knows which models take `stream_options`; one per router."""

    def __init__(self) -> None:
        self._takes: dict[tuple[str, str], bool] = {}

    def added_to(self, kwargs: dict[str, Any], deployment: Deployment) -> bool:
        """Add it to a call's arguments. Whether it was added."""
        if kwargs.get("stream_options") is not None or not self._taken_by(deployment):
            return False
        kwargs["stream_options"] = {"include_usage": True}
        return True

    def _taken_by(self, deployment: Deployment) -> bool:
        key = (deployment.provider, deployment.model)
        takes = self._takes.get(key)
        if takes is None:
            names = litellm.get_supported_openai_params(
                model=deployment.model, custom_llm_provider=deployment.provider
            )
            takes = self._takes[key] = "stream_options" in (names or ())
        return takes


def hide_usage(chunk: Any, previous: Any) -> bool:
    """Whether this chunk is there for its usage alone. Then that goes where LiteLLM hides it otherwise:
    in the hidden parameters of the chunk before."""
    usage = getattr(chunk, "usage", None)
    if usage is None or any(_says_something(choice) for choice in chunk.choices):
        return False
    hidden = getattr(previous, "_hidden_params", None)
    if isinstance(hidden, dict):
        hidden["usage"] = usage
    return True


def _says_something(choice: Any) -> bool:
    delta = choice.delta
    return bool(
        choice.finish_reason is not None
        or delta.content
        or getattr(delta, "tool_calls", None)
        or getattr(delta, "reasoning_content", None)
        or getattr(delta, "function_call", None)
    )
