"""Reads and cuts a transport's chunks, so that an answer can go on after its stream broke."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Protocol

from llmgate_plugins.types import Attempt, Chunk

__all__ = ["CHUNKS", "ChunkSplicer", "Splicer"]


class Splicer(Protocol):
    """What the gateway needs to know of a transport's own chunks to go on with an answer.

    A transport whose chunks are not `Chunk` brings one as its attribute `splicer`; without
    it, its streams end where they break.
    """

    def text(self, chunk: Any) -> str:
        """The text that this chunk adds to the answer."""

    def is_plain(self, chunk: Any) -> bool:
        """Whether it has nothing else that a reader would get twice: no piece of a tool call."""

    def cut(self, chunk: Any, length: int) -> Any:
        """The chunk without the first `length` characters of its text, and without reasoning."""

    def restarted(self, attempt: Attempt) -> Any:
        """A chunk that tells the reader to forget everything before it."""


class ChunkSplicer:
    """For transports that speak in `Chunk`."""

    def text(self, chunk: Chunk) -> str:
        """The text that this chunk adds."""
        return chunk.text

    def is_plain(self, chunk: Chunk) -> bool:
        """Whether it has no piece of a tool call."""
        return not chunk.tool_calls

    def cut(self, chunk: Chunk, length: int) -> Chunk:
        """The chunk without the first characters of its text."""
        return replace(chunk, text=chunk.text[length:], reasoning="")

    def restarted(self, attempt: Attempt) -> Chunk:
        """A chunk that says so."""
        return Chunk(restarted=True, model=attempt.deployment.model)


CHUNKS: Final = ChunkSplicer()
