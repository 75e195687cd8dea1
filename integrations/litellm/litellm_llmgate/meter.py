"""Reads LiteLLM's stream chunks as they pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from litellm_llmgate.endpoints.reports import FREE, quota_in, tier_in
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.limits import Quota
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.types import Chunk, Deployment, Message, ToolCall, Usage
from llmgate_plugins.usage import together, usage_from_litellm

__all__ = [
    "NeutralMeter",
    "StreamMeter",
    "check_ended",
    "check_whole",
    "chunk_usage",
    "complete_usage",
    "mark_kept",
]

ENDS_WITH_A_REASON = frozenset(
    {
        "anthropic",
        "azure",
        "azure_ai",
        "cerebras",
        "deepseek",
        "fireworks_ai",
        "gemini",
        "groq",
        "hosted_vllm",
        "mistral",
        "nvidia_nim",
        "openai",
        "openrouter",
        "perplexity",
        "together_ai",
        "vertex_ai",
        "xai",
    }
)
"""Providers that always say why a stream ended. From them, a stream that does not was cut."""


def check_whole(chunk: Any, stream: Any, deployment: Deployment) -> None:
    """LiteLLM ends a stream that was cut, or was none, with a finish reason of its own making; refuse it.

    Args:
        stream: LiteLLM's own stream, which knows what the provider said; None if not at hand.

    Raises:
        ProviderError: The provider has not said why the stream ended.
    """
    if stream is not None and chunk.choices and chunk.choices[0].finish_reason is not None:
        check_ended(stream, deployment)


def check_ended(stream: Any, deployment: Deployment) -> None:
    """The same of a stream of chat that has come to its end.

    Raises:
        ProviderError: The provider has not said why.
    """
    if (
        deployment.provider in ENDS_WITH_A_REASON
        and stream.received_finish_reason is None
        and stream.intermittent_finish_reason is None
    ):
        raise ProviderError("the stream ended without a finish reason", code="truncated")


_LOST: Final = ("service_tier", "speed", "inference_geo", "iterations")
"""What decides a price, and LiteLLM's own sum of a stream's reports leaves out."""
_FURTHER: Final = "provider_specific_fields"
_COUNTED: Final = "llmgate_counted"
"""In a chunk's hidden parameters: whether nobody reported its usage, and LiteLLM has counted it."""
_LAST: Final = 4
"""The report at a stream's end is among so many chunks."""


def complete_usage(chunk: Any, stream: Any) -> None:
    """Put what LiteLLM leaves out of a stream's usage back from the provider's own last report.

    Args:
        stream: LiteLLM's own stream, which keeps those; None if not at hand.
    """
    ended = getattr(stream, "received_finish_reason", None) or getattr(
        stream, "intermittent_finish_reason", None
    )
    if not ended:  # cheaper to ask than the chunk
        return
    hidden = getattr(chunk, "_hidden_params", None)
    if not isinstance(hidden, dict):
        return
    usage = hidden.get("usage")
    if usage is not None or getattr(chunk, "usage", None) is not None:
        hidden[_COUNTED] = all(getattr(told, "usage", None) is None for told in reversed(stream.chunks))
    if usage is None:
        return
    for told in reversed(stream.chunks[-_LAST:]):
        report = getattr(told, "usage", None)
        for name in _LOST if report is not None else ():
            value = getattr(report, name, None)
            if value is not None and getattr(usage, name, None) is None:
                setattr(usage, name, value)
        further = getattr(told, "_hidden_params", None) or {}
        if further.get(_FURTHER):  # Gemini's traffic type is there
            hidden.setdefault(_FURTHER, further[_FURTHER])


def mark_kept(chunk: Any, stream: Any) -> None:
    """Say of a chunk that it is of an answer that LiteLLM's own cache kept: only the stream does."""
    hidden = getattr(stream, "_hidden_params", None)
    if isinstance(hidden, dict) and hidden.get("cache_hit") is True:
        own = getattr(chunk, "_hidden_params", None)
        if isinstance(own, dict):
            own["cache_hit"] = True


def chunk_usage(chunk: Any) -> Usage | None:
    """Usage in this chunk, or where LiteLLM hides it there; None if the provider reported none.

    What LiteLLM's own cache answered costs nothing.
    """
    report = getattr(chunk, "usage", None)
    hidden = getattr(chunk, "_hidden_params", None)
    if isinstance(hidden, dict) and hidden.get("cache_hit") is True:
        return FREE
    if report is None:
        report = hidden.get("usage") if isinstance(hidden, dict) else None
        if report is None:
            return None
    usage = usage_from_litellm(report, tier=tier_in(getattr(chunk, "service_tier", None), hidden))
    if usage is not None and isinstance(hidden, dict) and hidden.get(_COUNTED):
        return replace(usage, estimated=True)
    return usage


class StreamMeter:
    """A meter for `ModelResponseStream` chunks."""

    __slots__ = ("_calls", "_last", "_text", "_thought", "_usage", "finish_reason", "id", "model")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._last: Any = None
        self._thought = 0
        self._usage: Usage | None = None
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.id: str | None = None

    def feed(self, chunk: Any) -> bool:
        """Take note of a chunk; whether it has content, a tool call or reasoning."""
        self._last = chunk
        choices = chunk.choices
        if self.model is None:
            self.model, self.id = chunk.model, chunk.id
        if not choices:
            self._note_usage(chunk)
            return False
        choice = choices[0]
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        if self.finish_reason is not None:  # usage comes with the end, but need not be the last word
            self._note_usage(chunk)
        delta = choice.delta
        text = delta.content
        if text:
            self._text.append(text)
            return True
        calls = getattr(delta, "tool_calls", None)
        if calls:
            for call in calls:
                self._take_call(call)
            return True
        thought = getattr(delta, "reasoning_content", None)
        if thought:
            self._thought += len(thought)
            return True
        return bool(getattr(delta, "function_call", None))

    def _note_usage(self, chunk: Any) -> None:
        report = chunk_usage(chunk)
        if report is not None:
            self._usage = together(self._usage, report)

    def _take_call(self, call: Any) -> None:
        parts = self._calls.setdefault(call.index or 0, ["", "", ""])
        parts[0] = call.id or parts[0]
        parts[1] = call.function.name or parts[1]
        parts[2] += call.function.arguments or ""

    @property
    def usage(self) -> Usage | None:
        """As the provider reported it."""
        return self._usage if self._usage is not None or self._last is None else chunk_usage(self._last)

    @property
    def quota(self) -> Quota | None:
        """What the provider said of its rate limits when the stream began."""
        return quota_in(getattr(self._last, "_hidden_params", None))

    @property
    def complete(self) -> bool:
        """Whether a finish reason has come. LiteLLM makes one up where a provider has none."""
        return self.finish_reason is not None

    @property
    def text(self) -> str:
        """The text delivered so far, with the arguments of tool calls, which are billed like it."""
        return "".join(self._text) + "".join(parts[1] + parts[2] for parts in self._calls.values())

    @property
    def characters(self) -> int:
        """Of all that was delivered so far and is billed: text, reasoning, tool calls."""
        return len(self.text) + self._thought

    def message(self) -> Message:
        """All that was delivered."""
        return Message(
            role="assistant",
            content="".join(self._text),
            tool_calls=tuple(
                ToolCall(id=parts[0], name=parts[1], arguments=parts[2] or "{}", index=index)
                for index, parts in sorted(self._calls.items())
            ),
        )


class NeutralMeter(ChunkMeter):
    """A meter for `Chunk`s that were made of LiteLLM's."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def feed(self, chunk: Chunk) -> bool:
        """Take note of a chunk; whether it has content, a tool call or reasoning."""
        if not self._begun:
            self._begun = True
            self.quota = quota_in(getattr(chunk.native, "_hidden_params", None))
        return super().feed(chunk)
