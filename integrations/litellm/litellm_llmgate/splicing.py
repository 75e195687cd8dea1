"""Cuts LiteLLM's chunks, so that a stream can go on with another attempt after it broke."""

from __future__ import annotations

from typing import Any, Final

from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from llmgate_plugins.types import Attempt

__all__ = ["RESTARTED", "StreamSplicer"]

RESTARTED: Final = {"llmgate": {"restarted": True}}
"""The `provider_specific_fields` of the chunk that voids what came before it."""


class StreamSplicer:
    """For `ModelResponseStream` chunks. They are copied: LiteLLM keeps its own for its logs."""

    def text(self, chunk: Any) -> str:
        """The text that this chunk adds to the answer."""
        choices = chunk.choices
        return (choices[0].delta.content or "") if choices else ""

    def is_plain(self, chunk: Any) -> bool:
        """Whether it has no piece of a tool call, nor of a second answer beside the first."""
        return not any(
            choice.index
            or getattr(choice.delta, "tool_calls", None)
            or getattr(choice.delta, "function_call", None)
            for choice in chunk.choices
        )

    def cut(self, chunk: Any, length: int) -> Any:
        """The chunk without the first characters of its text, without role and reasoning."""
        if not chunk.choices:
            return chunk
        first, *others = chunk.choices
        left = Delta(
            content=(first.delta.content or "")[length:] or None,
            tool_calls=getattr(first.delta, "tool_calls", None),
            function_call=getattr(first.delta, "function_call", None),
        )
        choice = first.model_copy(update={"delta": left})
        return chunk.model_copy(update={"choices": [choice, *others]})

    def restarted(self, attempt: Attempt) -> ModelResponseStream:
        """A chunk that tells the reader to forget everything before it."""
        return ModelResponseStream(
            model=attempt.deployment.model,
            choices=[StreamingChoices(index=0, delta=Delta())],
            provider_specific_fields=RESTARTED,
        )
