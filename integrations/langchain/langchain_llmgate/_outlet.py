"""What goes out of a gate's stream: each thing once, whatever broke and whoever repeats himself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGenerationChunk

from langchain_llmgate._messages import answer_chunk
from langchain_llmgate._meter import newly_used
from langchain_llmgate._report import KEY, closing_chunk
from langchain_llmgate._splicing import Restartable, is_restart
from llmgate_plugins.context import Call
from llmgate_plugins.types import OnBreak

__all__ = ["Outlet"]

ENDINGS: Final = ("finish_reason", "stop_reason", "done_reason")
SAME: Final = frozenset({"model_provider", "output_version", "id"})
"""What LangChain's core merges without harm where both sides say the same."""


class Outlet:
    """The last station of a stream's chunks. Mere pieces of an answer need not be handed in.

    LangChain's core adds chunks up: texts are joined and numbers summed. What is told twice
    (a finish reason, a usage report, and after a break all that the first stream had
    told of itself) would come out as "stopstop", and so is told once.

    Args:
        call: Whose stream it is.
        on_break: What happens when it breaks.

    Attributes:
        last: A chunk that is held back, since more has to be told with the last one.
        joins: Whether the stream may go on, or begin anew, after a break: all its chunks have
            to be handed in then.
    """

    __slots__ = ("_call", "_ended", "_id", "_keys", "_parted", "_resumed", "_seen", "_used", "joins", "last")

    def __init__(self, call: Call, on_break: OnBreak) -> None:
        self._call = call
        self.joins: Final = on_break in ("restart", "resume")
        self.last: ChatGenerationChunk | None = None
        self._id: str | None = None
        self._keys: set[str] = set()
        self._ended = False
        self._used: UsageMetadata | None = None
        self._seen = -1
        self._parted = False
        self._resumed = False

    def pass_on(self, chunk: Any) -> list[ChatGenerationChunk]:
        """The chunks that go out now. A plugin's own answer is one `Chunk`."""
        if self._call.answer is not None:
            self.last = answer_chunk(chunk)
            return []
        if self.joins:
            chunk = self._joined(chunk)
        if not self._once(chunk):
            return []
        before, self.last = self.last, None
        if chunk.message.chunk_position == "last":
            self.last = chunk
            return [] if before is None else [before]
        return [chunk] if before is None else [before, chunk]

    def close(self, *, tells: bool, whole: bool) -> list[ChatGenerationChunk]:
        """What is left to be said.

        Args:
            tells: Whether the answer says who served it.
            whole: Tell who served as well, for readers to whom the first chunk did not.
        """
        if tells:
            closing = closing_chunk(self.last, self._call, whole=whole or self._call.answer is not None)
            if self._resumed:
                attempt = self._call.record.attempts[-1][0]
                closing.message.response_metadata[KEY]["finished_by"] = attempt.deployment.id
            return [closing]
        return [] if self.last is None else [self.last]

    # ------------------------------------------------------------ after a break

    def _joined(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """One answer has one id, and says of itself what its first attempt said."""
        attempts = len(self._call.record.attempts)
        if self._seen < 0:
            self._seen = attempts
            self._note(chunk)
            return Restartable(message=chunk.message, generation_info=chunk.generation_info)
        if is_restart(chunk):
            self._keys.clear()
            self._used, self._ended, self._resumed = None, False, False
            self._seen, self._parted = attempts, True
        elif attempts > self._seen:
            self._used, self._ended = None, False
            self._seen, self._parted, self._resumed = attempts, True, True
        if self._resumed:
            self._continue(chunk)
        else:
            self._note(chunk)
        if self._parted:
            chunk.message.id = self._id
        return chunk

    def _continue(self, chunk: ChatGenerationChunk) -> None:
        """Takes out what the first attempt has told, and makes the text part of what went before."""
        told = self._keys - SAME
        message = chunk.message
        message.response_metadata = _without(message.response_metadata, told)
        if chunk.generation_info:
            chunk.generation_info = _without(chunk.generation_info, told) or None
        if isinstance(message.content, list):
            message.content = _unnumbered(message.content)

    def _note(self, chunk: ChatGenerationChunk) -> None:
        message = chunk.message
        if self._id is None and not self._parted:
            self._id = message.id
        self._keys.update(message.response_metadata)
        if chunk.generation_info:
            self._keys.update(chunk.generation_info)

    # ------------------------------------------------------------ what providers say twice

    def _once(self, chunk: ChatGenerationChunk) -> bool:
        """Takes out what was told before. Whether anything is left to be passed on."""
        message: Any = chunk.message
        used = message.usage_metadata
        repeated = False
        if used is not None:
            fresh = newly_used(self._used, used)
            if fresh is not used:
                message.usage_metadata = fresh
                repeated = fresh is None
            if fresh is not None:
                self._used = fresh if self._used is None else add_usage(self._used, fresh)
        ends = _ending(message.response_metadata) or _ending(chunk.generation_info)
        if ends:
            if self._ended:
                repeated = True
                message.chunk_position = None
                message.response_metadata = _without(message.response_metadata, ENDS_WITH)
                if chunk.generation_info:
                    chunk.generation_info = _without(chunk.generation_info, ENDS_WITH) or None
            self._ended = True
        return not repeated or _has_more(message, chunk.generation_info)


ENDS_WITH: Final = frozenset(
    {
        *ENDINGS,
        "stop_sequence",
        "stop_details",
        "model_name",
        "system_fingerprint",
        "service_tier",
    }
)
"""What chunks that end a stream say of it."""


def _ending(told: Mapping[str, Any] | None) -> bool:
    return bool(told) and any(told.get(name) for name in ENDINGS)  # type: ignore[union-attr]


def _without(told: Mapping[str, Any], names: frozenset[str] | set[str]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in names}


def _has_more(message: AIMessageChunk, info: Mapping[str, Any] | None) -> bool:
    """Whether a chunk that repeated something has anything else."""
    return bool(message.content or message.tool_call_chunks or message.usage_metadata or info) or bool(
        message.response_metadata.keys() - SAME
    )


def _unnumbered(blocks: list[Any]) -> Any:
    """Content blocks of another attempt, which count from 0 again: they must not run into those before."""
    if all(isinstance(block, str) or block.keys() <= PLAIN for block in blocks):
        return "".join([block if isinstance(block, str) else block.get("text", "") for block in blocks])
    return [
        {**block, "index": block["index"] + APART}
        if isinstance(block, dict) and isinstance(block.get("index"), int)
        else block
        for block in blocks
    ]


PLAIN: Final = frozenset({"type", "text", "index"})
APART: Final = 1000
"""Further apart than the blocks of one answer are many."""
