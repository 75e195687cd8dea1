"""Reads the pieces of one stream on OpenAI's wire, and knows when they are none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmgate_plugins.errors import ProviderError
from llmgate_plugins.limits import Quota
from llmgate_plugins.transports.exchange import Exchange
from llmgate_plugins.transports.openai_prefill import Echo, echo_of
from llmgate_plugins.transports.openai_wire import chunk_of, garbage, text_of, thoughts_of
from llmgate_plugins.types import Attempt, Chunk, ToolCall
from llmgate_plugins.usage import usage_from_openai

__all__ = ["ChunkReader", "FirstChunk", "chunks_of_body"]

_MOST_REPEATS: Final = 100
"""So often in a row the same text can come; LiteLLM's limit, too."""
_SHORT: Final = 2
"""Text of so few characters may well repeat: spaces, rules of a table, zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstChunk(Chunk):
    """A stream's first chunk, with what the response's headers say of rate limits."""

    quota: Quota | None = None


class ChunkReader:
    """Turns the client's pieces into chunks, one reader per stream.

    Attributes:
        finished: Whether the model has said why it stopped.
        patience: Seconds that the rest of the stream is waited for after that.
    """

    __slots__ = ("_echo", "_exchange", "_first", "_repeats", "_text", "finished", "patience")

    def __init__(self, attempt: Attempt, exchange: Exchange) -> None:
        self._exchange = exchange
        self._echo: Echo | None = echo_of(attempt)
        self._first = True
        self._text = ""
        self._repeats = 0
        self.finished = False
        self.patience = 0.0

    def read(self, piece: Any) -> Chunk:
        """One piece.

        Raises:
            ProviderError: It is an error, or nothing that could be a piece, or the model
                says the same again and again.
        """
        return self.note(chunk_of(piece))

    def note(self, chunk: Chunk) -> Chunk:
        """Take note of a chunk; returns it as it goes on."""
        text = chunk.text
        if text:
            if text == self._text:
                self._repeats += 1
                if self._repeats >= _MOST_REPEATS and len(text) > _SHORT:
                    raise ProviderError(
                        f"the same text came {_MOST_REPEATS} times in a row", code="bad_response"
                    )
            else:
                self._text = text
                self._repeats = 1
            if self._echo is not None:
                chunk = self._echo.without(chunk)
        if self._first:
            self._first = False
            chunk = self._with_quota(chunk)
        if chunk.finish_reason is not None:
            self.finished = True
            self.patience = self._exchange.finished()
        elif chunk.text or chunk.tool_calls or chunk.reasoning:
            self._exchange.begun()
        return chunk

    def is_whole_despite(self, error: Exception) -> bool:
        """Whether nothing but the stream's end mark, or its usage, was lost with the connection."""
        return self.finished and self._exchange.is_lost(error)

    def _with_quota(self, chunk: Chunk) -> Chunk:
        quota = self._exchange.quota()
        if quota is None:
            return chunk
        return FirstChunk(
            text=chunk.text,
            reasoning=chunk.reasoning,
            tool_calls=chunk.tool_calls,
            usage=chunk.usage,
            finish_reason=chunk.finish_reason,
            model=chunk.model,
            id=chunk.id,
            native=chunk.native,
            quota=quota,
        )


def chunks_of_body(reader: ChunkReader, body: bytes) -> Iterator[Chunk]:
    """What came in place of a stream: one whole answer as JSON is fine, anything else an error.

    Raises:
        ProviderError: It is none.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = body.decode(errors="replace")
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or choice.get("error"):
        raise garbage(choice or answer)
    if not isinstance(message, Mapping) or choice.get("finish_reason") == "error":
        raise garbage(answer)
    usage = answer.get("usage")
    content = message.get("content")
    yield reader.note(
        Chunk(
            text=text_of(content) or message.get("refusal") or "",
            reasoning=message.get("reasoning_content") or message.get("reasoning") or thoughts_of(content),
            tool_calls=tuple(_calls(message.get("tool_calls") or ())),
            usage=usage_from_openai(usage, tier=answer.get("service_tier")) if usage else None,
            finish_reason=choice.get("finish_reason"),
            model=answer.get("model"),
            id=answer.get("id"),
            native=answer,
        )
    )


def _calls(calls: Any) -> Iterator[ToolCall]:
    for index, call in enumerate(calls):
        function = call.get("function") or {}
        yield ToolCall(
            id=str(call.get("id") or ""),
            name=str(function.get("name") or ""),
            arguments=str(function.get("arguments") or "{}"),
            index=index,
        )
