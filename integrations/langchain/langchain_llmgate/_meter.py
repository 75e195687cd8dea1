"""Reads LangChain chunks as they pass: has it content, what was used, why did it stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage, subtract_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from langchain_llmgate._leaf import Leaf
from langchain_llmgate._messages import read_message
from llmgate_plugins.classification import quota_from
from llmgate_plugins.limits import Quota
from llmgate_plugins.types import Message, Request, Usage
from llmgate_plugins.usage import (
    estimate_usage,
    iterated,
    sent_params,
    tier_of,
    together,
    usage_from_langchain,
    usage_from_litellm,
)

__all__ = [
    "ChunkMeter",
    "finish_reason_of",
    "has_content",
    "model_of",
    "newly_used",
    "quota_told",
    "usage_told",
]

TEXT_KEYS: Final = ("text", "thinking", "reasoning", "summary")
TEXT_TYPES: Final = frozenset({"text", "thinking", "reasoning", "output_text", "non_standard"})


def has_content(message: AIMessage) -> bool:
    """Whether there is something to read in it: text, a tool call, reasoning. A role alone is nothing."""
    content = message.content
    if type(content) is str:
        if content:
            return True
    elif any(map(_says_something, content)):
        return True
    if getattr(message, "tool_call_chunks", None) or message.tool_calls or message.invalid_tool_calls:
        return True
    extra = message.additional_kwargs
    return bool(extra) and any(
        extra.get(key)
        for key in ("reasoning_content", "tool_calls", "function_call", "refusal", "audio", "reasoning")
    )


def _says_something(block: str | dict[Any, Any]) -> bool:
    """An opened but empty text or thinking block says nothing; a block of another kind does."""
    if isinstance(block, str):
        return bool(block)
    return block.get("type") not in TEXT_TYPES or any(block.get(key) for key in TEXT_KEYS)


def model_of(metadata: Mapping[str, Any]) -> str | None:
    """The model that served, as providers' packages name it in response metadata or generation info."""
    name = metadata.get("model_name") or metadata.get("model")
    return name if isinstance(name, str) else None


def finish_reason_of(generation: ChatGeneration) -> str | None:
    """Why the model stopped, in the OpenAI vocabulary where it is known."""
    for told in (generation.generation_info, generation.message.response_metadata):
        if told:
            reason = told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason")
            if not reason and isinstance(status := told.get("status"), str):
                reason = STATUSES.get(status)  # OpenAI's Responses API
            if isinstance(reason, str):
                return REASONS.get(reason, reason)
    return None


STATUSES: Final = {"completed": "stop", "incomplete": "length"}
REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "refusal": "content_filter",
    "SAFETY": "content_filter",
}


def newly_used(before: UsageMetadata | None, report: UsageMetadata) -> UsageMetadata | None:
    """What a stream's usage report adds to those before it; None if nothing.

    Some providers tell the input first and the output later, or each increment: those add
    up. Some repeat their last report, or tell all so far with every chunk: they are known by
    telling the input again.
    """
    if before is None or not before["input_tokens"] or report["input_tokens"] < before["input_tokens"]:
        return report
    fresh = subtract_usage(report, before)
    return fresh if fresh["input_tokens"] or fresh["output_tokens"] else None


def usage_told(*told: Mapping[str, Any] | None) -> Usage | None:
    """What a provider reported in its own words, where its package makes no `usage_metadata` of them."""
    for one in told:
        report = (one.get("token_usage") or one.get("usage")) if one else None
        if one and isinstance(report, Mapping):
            usage = usage_from_litellm(report, tier=one.get("service_tier"))
            if usage is not None:
                return usage
    return None


def quota_told(*told: Mapping[str, Any] | None) -> Quota | None:
    """What the provider said of its rate limits, where the inner model keeps its headers."""
    for one in told:
        headers = one.get("headers") if one else None
        if isinstance(headers, Mapping):
            return quota_from(headers)
    return None


class ChunkMeter:
    """The meter of one stream. Keeps the chunks and reads them when asked; passing costs an append.

    Args:
        leaf: Whose stream it is.
        request: What was asked.
    """

    __slots__ = ("_chunks", "_found", "_leaf", "_read", "_request", "feed")

    def __init__(self, leaf: Leaf, request: Request) -> None:
        self._leaf = leaf
        self._request = request
        self._chunks: list[ChatGenerationChunk] = []
        self._found = _Found()
        self._read = 0
        self.feed = self._first

    def _first(self, chunk: ChatGenerationChunk) -> bool:
        self._chunks.append(chunk)
        if not has_content(chunk.message):  # type: ignore[arg-type]
            return False
        self.feed = self._chunks.append  # type: ignore[assignment]
        return True

    def _so_far(self) -> _Found:
        """What all chunks so far tell; each is read once. Most hold nothing but a piece of text."""
        found, chunks = self._found, self._chunks
        for chunk in chunks[self._read :]:
            message, info = chunk.message, chunk.generation_info
            told = message.response_metadata
            if told or info:
                found.finish_reason = finish_reason_of(chunk) or found.finish_reason
                found.model = found.model or model_of(told) or (model_of(info) if info else None)
                found.id = found.id or told.get("id")
                found.tier = told.get("service_tier") or (info or {}).get("service_tier") or found.tier
                report = usage_told(told, info)
                if report is not None:
                    found.told = together(found.told, report)
            used = message.usage_metadata  # type: ignore[attr-defined]
            if used is not None:
                fresh = newly_used(found.usage, used)
                if fresh is not None:
                    found.usage = fresh if found.usage is None else add_usage(found.usage, fresh)
            if type(message.content) is not str and self._leaf.family == "anthropic":
                found.summaries += _summary(message.content)
        self._read = len(chunks)
        return found

    @property
    def usage(self) -> Usage | None:
        """What all reports say together."""
        found = self._so_far()
        if found.usage is None:
            return found.told
        usage = usage_from_langchain(
            found.usage, metadata={"service_tier": found.tier} if found.tier else None
        )
        return usage if usage is None or self._leaf.family != "anthropic" else self._whole(usage)

    def _whole(self, usage: Usage) -> Usage:
        """With what the client keeps to itself of a stream of Anthropic's: where and how fast it was
        served, which is as it was asked for, what the cache keeps for an hour, and what it took to summarise
        the conversation first."""
        sent = sent_params(self._leaf.deployment, self._request)
        tier = tier_of(usage.tier, speed=sent.get("speed"), place=sent.get("inference_geo"))
        usage = replace(usage, tier=tier)
        if usage.cache_write and _asks_for_an_hour(self._request, sent):
            usage = replace(usage, cache_write=0, cache_write_1h=usage.cache_write, estimated=True)
        if not self._found.summaries:
            return usage
        summary = estimate_usage(self._request, self._found.summaries)
        parts = [("message", None, usage), ("compaction", None, summary)]
        return iterated(usage, parts) or usage

    @property
    def finish_reason(self) -> str | None:
        """The last one told."""
        return self._so_far().finish_reason

    @property
    def complete(self) -> bool:
        """Whether a stream that ends here is whole."""
        return not self._leaf.always_ends or self.finish_reason is not None

    @property
    def id(self) -> str | None:
        """The provider's id of the answer."""
        return self._so_far().id

    @property
    def model(self) -> str | None:
        """The model that served."""
        return self._leaf.own_name(self._so_far().model)

    @property
    def quota(self) -> Quota | None:
        """What the provider said of its rate limits, with the first chunk if at all."""
        if not self._chunks:
            return None
        first = self._chunks[0]
        return quota_told(first.generation_info, first.message.response_metadata)

    @property
    def text(self) -> str:
        """The text delivered so far."""
        contents = [chunk.message.content for chunk in self._chunks]
        return "".join([one if type(one) is str else _text(one) for one in contents])

    @property
    def characters(self) -> int:
        """Of all that was delivered so far and is billed: text, reasoning, tool calls."""
        return sum([_characters(chunk.message) for chunk in self._chunks])

    def message(self) -> Message:
        """All that was delivered, as one message."""
        whole = merge_chat_generation_chunks(list(self._chunks))
        return read_message(whole.message) if whole is not None else Message(role="assistant")


@dataclass(slots=True)
class _Found:
    """What the chunks of a stream have told."""

    usage: UsageMetadata | None = None
    told: Usage | None = None
    finish_reason: str | None = None
    model: str | None = None
    id: str | None = None
    tier: Any = None
    summaries: int = 0


def _asks_for_an_hour(request: Request, sent: Mapping[str, Any]) -> bool:
    """Whether anything in it asks the provider's cache to keep it for an hour."""
    parts = [
        part for message in request.messages if type(message.content) is not str for part in message.content
    ]
    marked: list[Any] = [*parts, sent]
    for name in ("tools", "system"):
        told = sent.get(name)
        marked += told if isinstance(told, list | tuple) else ()
    return any(_is_for_an_hour(one) for one in marked)


def _is_for_an_hour(one: Any) -> bool:
    control = one.get("cache_control") if isinstance(one, Mapping) else None
    return isinstance(control, Mapping) and control.get("ttl") == "1h"


def _summary(blocks: Any) -> int:
    """Characters of a conversation's summary, which Anthropic sends first."""
    return sum(
        [
            len(str(one.get("content") or " "))
            for one in blocks
            if not isinstance(one, str) and one.get("type") == "compaction"
        ]
    )


def _characters(message: BaseMessage) -> int:
    content = message.content
    blocks = [content] if isinstance(content, str) else content
    told = sum([len(one) if isinstance(one, str) else _length(one) for one in blocks])
    for call in getattr(message, "tool_call_chunks", None) or ():
        told += len(call.get("name") or "") + len(call.get("args") or "")
    thought = message.additional_kwargs.get("reasoning_content")
    return told + (len(thought) if isinstance(thought, str) else 0)


def _length(block: Mapping[str, Any]) -> int:
    """Characters of a block that are words; a summary of thoughts has parts of its own."""
    told = 0
    for key in TEXT_KEYS:
        words = block.get(key)
        if isinstance(words, str):
            told += len(words)
        elif isinstance(words, list):
            told += sum([_length(one) for one in words if isinstance(one, Mapping)])
    return told


def _text(blocks: Any) -> str:
    return "".join([one if isinstance(one, str) else str(one.get("text") or "") for one in blocks])
