"""Chunks where a stream broke: cut, so that an answer goes on, or begun anew, for all to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_llmgate._report import KEY
from llmgate_plugins.types import Attempt

__all__ = ["SPLICER", "ChatSplicer", "Restart", "RestartMessage", "Restartable", "is_restart"]

THOUGHTS: Final = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_content"})
"""Types of content blocks that are no part of the answer itself."""
THOUGHT_WORDS: Final = ("reasoning_content", "reasoning", "reasoning_details")
"""Where providers' packages put such thoughts beside the content."""


class RestartMessage(AIMessageChunk):
    """Says that all before it is void. Chunks added one by one begin anew here.

    Python asks the right side of a sum first if its class is derived from the left side's.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Saved as the plain chunk that it is apart from sums."""
        return AIMessageChunk.lc_id()

    def __radd__(self, left: AIMessageChunk) -> AIMessageChunk:
        return self._plain(left.id)

    def __add__(self, other: Any) -> Any:
        return self._plain(self.id) + other

    def _plain(self, identity: str | None) -> AIMessageChunk:
        return AIMessageChunk(
            content=self.content, id=identity or self.id, response_metadata=self.response_metadata
        )


class Restart(ChatGenerationChunk):
    """The same for generations."""

    def __radd__(self, left: ChatGenerationChunk) -> ChatGenerationChunk:
        message = left.message + self.message
        return ChatGenerationChunk(message=message, generation_info=self.generation_info)


class Restartable(ChatGenerationChunk):
    """The first chunk of a stream that may begin anew: it adds up what follows, as LangChain's core does."""

    def __add__(self, other: ChatGenerationChunk | list[ChatGenerationChunk]) -> ChatGenerationChunk:
        if isinstance(other, list):
            for place in range(len(other) - 1, -1, -1):
                if is_restart(other[place]):
                    begun = ChatGenerationChunk(message=self.message) + other[place]
                    return begun + other[place + 1 :]
        return super().__add__(other)


def is_restart(chunk: ChatGenerationChunk) -> bool:
    """Whether all before this chunk is void."""
    return isinstance(chunk.message, RestartMessage)


class ChatSplicer:
    """A `Splicer` over LangChain's chunks."""

    def text(self, chunk: ChatGenerationChunk) -> str:
        """The text that this chunk adds to the answer."""
        content = chunk.message.content
        if isinstance(content, str):
            return content
        return "".join([_text(block) for block in content])

    def is_plain(self, chunk: ChatGenerationChunk) -> bool:
        """Whether it has nothing but text and thoughts."""
        message: Any = chunk.message
        if message.tool_call_chunks or message.tool_calls or message.invalid_tool_calls:
            return False
        extra = message.additional_kwargs
        if extra and any(extra.get(name) for name in ("tool_calls", "function_call", "audio", "refusal")):
            return False
        content = message.content
        return isinstance(content, str) or all(_is_plain(block) for block in content)

    def cut(self, chunk: ChatGenerationChunk, length: int) -> ChatGenerationChunk:
        """The chunk without the first characters of its text, and without thoughts."""
        message = chunk.message
        content = message.content
        if isinstance(content, str):
            left: Any = content[length:]
        else:
            left = _cut_blocks(content, length)
        extra = message.additional_kwargs
        if extra and any(name in extra for name in THOUGHT_WORDS):
            extra = {name: value for name, value in extra.items() if name not in THOUGHT_WORDS}
        cut = message.model_copy(update={"content": left, "additional_kwargs": extra})
        return ChatGenerationChunk(message=cut, generation_info=chunk.generation_info)

    def restarted(self, attempt: Attempt) -> ChatGenerationChunk:  # noqa: ARG002 - its first chunk says who serves
        """A chunk that voids what was delivered."""
        told = {KEY: {"restarted": True}}
        return Restart(message=RestartMessage(content="", response_metadata=told))


SPLICER: Final = ChatSplicer()


def _text(block: str | dict[str, Any]) -> str:
    if isinstance(block, str):
        return block
    return "" if block.get("type") in THOUGHTS else str(block.get("text") or "")


def _is_plain(block: str | dict[str, Any]) -> bool:
    return isinstance(block, str) or block.get("type") in THOUGHTS or "text" in block


def _cut_blocks(blocks: Sequence[str | dict[str, Any]], length: int) -> list[str | dict[str, Any]]:
    left: list[str | dict[str, Any]] = []
    for block in blocks:
        text = _text(block)
        away, length = text[:length], max(length - len(text), 0)
        if isinstance(block, str):
            left.append(block[len(away) :])
        elif block.get("type") not in THOUGHTS:
            left.append({**block, "text": text[len(away) :]} if away else block)
    return left
