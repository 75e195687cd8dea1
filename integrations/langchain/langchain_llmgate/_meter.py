"""Reads LangChain chunks as they pass: has it content, what was used, why did it stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from langchain_llmgate._leaf import Leaf
from langchain_llmgate._messages import read_message
from llmgate_plugins.types import Message, Usage
from llmgate_plugins.usage import usage_from_langchain

__all__ = ["ChunkMeter", "finish_reason_of", "has_content", "model_of"]

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


class ChunkMeter:
    """The meter of one stream. Keeps the chunks and reads them when asked; passing costs an append.

    Args:
        leaf: Whose stream it is.
    """

    __slots__ = ("_chunks", "_leaf", "feed")

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._chunks: list[ChatGenerationChunk] = []
        self.feed = self._first

    def _first(self, chunk: ChatGenerationChunk) -> bool:
        self._chunks.append(chunk)
        if not has_content(chunk.message):  # type: ignore[arg-type]
            return False
        self.feed = self._chunks.append  # type: ignore[assignment]
        return True

    @property
    def usage(self) -> Usage | None:
        """All reports added up: Anthropic tells the input at the start, the output at the end."""
        total = None
        for chunk in self._chunks:
            reported = getattr(chunk.message, "usage_metadata", None)
            if reported is not None:
                total = reported if total is None else add_usage(total, reported)
        return usage_from_langchain(total) if total is not None else None

    @property
    def finish_reason(self) -> str | None:
        """The last one told."""
        for chunk in reversed(self._chunks):
            reason = finish_reason_of(chunk)
            if reason is not None:
                return reason
        return None

    @property
    def complete(self) -> bool:
        """Whether a stream that ends here is whole."""
        return not self._leaf.always_ends or self.finish_reason is not None

    @property
    def model(self) -> str | None:
        """The model that served."""
        for chunk in self._chunks:
            for told in (chunk.message.response_metadata, chunk.generation_info):
                name = model_of(told) if told else None
                if name is not None:
                    return self._leaf.own_name(name)
        return None

    @property
    def text(self) -> str:
        """The text delivered so far."""
        return "".join([str(chunk.message.text) for chunk in self._chunks])

    def message(self) -> Message:
        """All that was delivered, as one message."""
        whole = merge_chat_generation_chunks(list(self._chunks))
        return read_message(whole.message) if whole is not None else Message(role="assistant")
