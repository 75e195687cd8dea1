"""Reads a stream of the gateway's own chunks as they pass."""

from __future__ import annotations

from llmgate_plugins.limits import Quota
from llmgate_plugins.types import Chunk, Message, ToolCall, Usage
from llmgate_plugins.usage import together

__all__ = ["ChunkMeter"]


class ChunkMeter:
    """A `Meter` over `Chunk`, for transports that have no chunks of their own.

    Pieces of a tool call belong together by their `index`: the first id and name given
    hold, the arguments are joined. Usage reports are cumulative (see `together`); the last
    finish reason that was not None holds, and the first model.

    Attributes:
        id: The provider's id of the answer.
        quota: What the provider said of its rate limits: set by the transport, or by its
            first chunk if that has a `quota`.
    """

    __slots__ = (
        "_arguments",
        "_calls",
        "_finish_reason",
        "_model",
        "_pieces",
        "_thought",
        "_usage",
        "id",
        "quota",
    )

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._calls: dict[int, tuple[str, str]] = {}
        self._arguments: dict[int, list[str]] = {}
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._model: str | None = None
        self._thought = 0
        self.id: str | None = None
        self.quota: Quota | None = None

    def feed(self, chunk: Chunk) -> bool:
        """Take note of a chunk. Whether it has content, a tool call or reasoning."""
        if chunk.text:
            self._pieces.append(chunk.text)
        if chunk.reasoning:
            self._thought += len(chunk.reasoning)
        for call in chunk.tool_calls:
            first_id, name = self._calls.get(call.index, ("", ""))
            self._calls[call.index] = (first_id or call.id, name or call.name)
            self._arguments.setdefault(call.index, []).append(call.arguments)
        if chunk.usage is not None:
            self._usage = together(self._usage, chunk.usage)
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason
        if self._model is None:
            self._model, self.id = chunk.model, chunk.id
            self.quota = self.quota or getattr(chunk, "quota", None)
        return bool(chunk.text or chunk.tool_calls or chunk.reasoning)

    @property
    def usage(self) -> Usage | None:
        """As the provider reported it, or None if it has not (yet)."""
        return self._usage

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, or None if no chunk has said so."""
        return self._finish_reason

    @property
    def complete(self) -> bool:
        """Whether the stream said why it stopped: every provider we speak to does."""
        return self._finish_reason is not None

    @property
    def model(self) -> str | None:
        """The model that served, by the provider's word."""
        return self._model

    @property
    def text(self) -> str:
        """The text delivered so far."""
        return "".join(self._pieces)

    @property
    def characters(self) -> int:
        """Of all that was delivered so far and is billed: text, reasoning, tool calls."""
        called = sum([len(name) for _, name in self._calls.values()])
        for pieces in (self._pieces, *self._arguments.values()):
            called += sum(map(len, pieces))
        return self._thought + called

    def message(self) -> Message:
        """All that was delivered, as one message."""
        calls = tuple(
            ToolCall(id=call_id, name=name, arguments="".join(self._arguments[index]) or "{}", index=index)
            for index, (call_id, name) in sorted(self._calls.items())
        )
        return Message(role="assistant", content=self.text, tool_calls=calls)
