"""Streams of endpoints of other shapes than chat's, handed on in their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from typing import Any

from litellm.responses.streaming_iterator import (
    BaseResponsesAPIStreamingIterator,
    CachedResponsesAPIStreamingIterator,
)

from litellm_llmgate.errors import for_litellm
from litellm_llmgate.host_call import Sending
from llmgate_plugins.errors import LLMGateError
from llmgate_plugins.types import Chunk, Request

__all__ = ["EndpointStream", "aopened_endpoint", "chat_in", "is_kept"]


class EndpointStream:
    """Iterates over what comes through the gateway; all else is as LiteLLM's own stream has it.

    Args:
        source: The pieces.
        like: The stream that LiteLLM opened for the attempt that is being read.
    """

    def __init__(self, source: Any, like: Any) -> None:
        self._source = source
        self._like = like
        self._hidden_params = dict(getattr(like, "_hidden_params", None) or {})

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._source)

    async def aclose(self) -> None:
        """Leave it early."""
        await self._source.aclose()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._source)

    def close(self) -> None:
        """Leave one in a thread early."""
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        if name == "_like" or name.startswith("__"):  # it is being copied
            raise AttributeError(name)
        return getattr(self._like, name)


class ResponsesStream(EndpointStream, BaseResponsesAPIStreamingIterator):  # type: ignore[misc]
    """One that is told by its class."""

    def partial_response_on_disconnect(self) -> Any:
        """What LiteLLM bills when the reader goes away."""
        found = getattr(self._like, "partial_response_on_disconnect", None)
        return None if found is None else found()


def is_kept(stream: Any) -> bool:
    """Whether LiteLLM's own cache answers, by the stream that it opened."""
    inner = _inner(stream)
    if isinstance(inner, CachedResponsesAPIStreamingIterator):
        return True
    told = (getattr(one, "_hidden_params", None) for one in (stream, inner, chat_in(stream)))
    return any(isinstance(hidden, dict) and hidden.get("cache_hit") is True for hidden in told)


def chat_in(stream: Any) -> Any:
    """The stream of chat that LiteLLM makes one of Responses of; None where it is none, or not at hand."""
    return getattr(_inner(stream), "litellm_custom_stream_wrapper", None)


def _inner(stream: Any) -> Any:
    return getattr(stream, "_billing_source", None)


async def aopened_endpoint(chunks: AsyncIterator[Any], request: Request) -> tuple[Any, Sending | None]:
    """The stream, once its first content is there, and its attempt. Errors until then are raised here.

    Raises:
        LLMGateError: A plugin answered, which has no shape here.
    """
    first = await anext(chunks, None)
    if isinstance(first, Chunk):
        await chunks.aclose()  # type: ignore[attr-defined]
        raise _shapeless(request)
    return _made(_arelay(first, chunks, request), first, request)


def opened_endpoint(chunks: Iterator[Any], request: Request) -> tuple[Any, Sending | None]:
    """The same in a thread."""
    first = next(chunks, None)
    if isinstance(first, Chunk):
        chunks.close()  # type: ignore[attr-defined]
        raise _shapeless(request)
    return _made(_relay(first, chunks, request), first, request)


def _made(source: Any, first: Any, request: Request) -> tuple[Any, Sending]:
    sending: Sending = request.native.sendings[-1] if first is None else request.native.opened_with(first)
    kind = (
        ResponsesStream if isinstance(sending.opened, BaseResponsesAPIStreamingIterator) else EndpointStream
    )
    return kind(source, sending.opened), sending


def _shapeless(request: Request) -> LLMGateError:
    return LLMGateError(
        f"a plugin answered a streamed call of {request.operation!r} by itself, which can only be done "
        "for chat; let it leave such calls alone, or ask without stream"
    )


async def _arelay(first: Any, chunks: Any, request: Request) -> AsyncIterator[Any]:
    async with aclosing(chunks):
        try:
            if first is not None:
                yield first
            async for chunk in chunks:
                yield chunk
        except Exception as error:  # noqa: BLE001 - whatever ends it, in LiteLLM's terms
            raise for_litellm(error, request.model) from error.__cause__


def _relay(first: Any, chunks: Any, request: Request) -> Iterator[Any]:
    with closing(chunks):
        try:
            if first is not None:
                yield first
            yield from chunks
        except Exception as error:  # noqa: BLE001 - whatever ends it, in LiteLLM's terms
            raise for_litellm(error, request.model) from error.__cause__
