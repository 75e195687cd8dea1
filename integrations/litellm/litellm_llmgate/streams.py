"""The gateway's stream in the shape that LiteLLM's callers expect."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from datetime import datetime
from typing import Any

from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from litellm_llmgate.answers import litellm_usage
from litellm_llmgate.errors import for_litellm
from litellm_llmgate.host_call import HostCall, Sending
from litellm_llmgate.usage_on_streams import hide_usage
from llmgate_plugins.types import Chunk, Request

__all__ = ["GatedStream", "aopened", "opened"]

END = object()


class GatedStream(CustomStreamWrapper):  # type: ignore[misc]
    """A stream through the gateway. Iterates as LiteLLM's own does, and carries what that carries.

    Args:
        source: The chunks.
        like: The stream that LiteLLM opened for the attempt that is being read.
    """

    def __init__(self, source: Any, like: CustomStreamWrapper) -> None:
        super().__init__(
            completion_stream=source,
            model=like.model,
            custom_llm_provider=like.custom_llm_provider,
            logging_obj=like.logging_obj,
            _response_headers=like._response_headers,
        )
        self._source = source
        self.chunks = like.chunks
        self._hidden_params = dict(like._hidden_params)

    def __iter__(self) -> Iterator[ModelResponseStream]:
        return self

    def __next__(self) -> ModelResponseStream:
        return next(self._source)

    def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        return self

    async def __anext__(self) -> ModelResponseStream:
        return await anext(self._source)

    def close(self) -> None:
        """Leave a sync stream early."""
        self._source.close()

    async def aclose(self) -> None:
        """Leave an async stream early."""
        await self._source.aclose()


async def aopened(chunks: AsyncIterator[Any], request: Request) -> tuple[Any, Sending | None]:
    """The stream, once its first content is there, and its attempt. Errors until then are raised here."""
    first = await anext(chunks, END)
    sending = request.native.opened_with(first)
    shown = _Shown(request)
    return GatedStream(_arelay(first, chunks, shown), _like(sending, request)), sending


def opened(chunks: Iterator[Any], request: Request) -> tuple[Any, Sending | None]:
    """The same in a thread."""
    first = next(chunks, END)
    sending = request.native.opened_with(first)
    shown = _Shown(request)
    return GatedStream(_relay(first, chunks, shown), _like(sending, request)), sending


def _like(sending: Sending | None, request: Request) -> CustomStreamWrapper:
    return _own_stream(request) if sending is None else sending.opened


async def _arelay(first: Any, chunks: Any, shown: _Shown) -> AsyncIterator[Any]:
    async with aclosing(chunks):
        try:
            for chunk in shown.first(first):
                yield chunk
            async for chunk in chunks:
                piece = shown.shown(chunk)
                if piece is not None:
                    yield piece
        except Exception as error:  # noqa: BLE001 - whatever ends it, in LiteLLM's terms
            raise for_litellm(error, shown.request.model) from error.__cause__


def _relay(first: Any, chunks: Any, shown: _Shown) -> Iterator[Any]:
    with closing(chunks):
        try:
            yield from shown.first(first)
            for chunk in chunks:
                piece = shown.shown(chunk)
                if piece is not None:
                    yield piece
        except Exception as error:  # noqa: BLE001 - whatever ends it, in LiteLLM's terms
            raise for_litellm(error, shown.request.model) from error.__cause__


class _Shown:
    """What the caller gets to see: LiteLLM's chunks as they are, but no usage it did not ask for.

    A stream that another attempt goes on with keeps its id.
    """

    __slots__ = ("_hides", "_id", "_previous", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self._hides = False
        self._id: str | None = None
        self._previous: Any = None

    def first(self, chunk: Any) -> tuple[Any, ...]:
        """The first chunk; a plugin's answer is one chunk of ours, and the whole stream."""
        if chunk is END:
            return ()
        if isinstance(chunk, Chunk):
            return _own_chunks(chunk, self.request)
        self._hides = self.request.native.usage_added
        self._id = chunk.id
        self._previous = chunk
        return (chunk,)

    def shown(self, chunk: Any) -> Any:
        """This chunk as the caller sees it; None if it does not."""
        if self._hides and hide_usage(chunk, self._previous):
            return None
        if chunk.id != self._id:
            chunk = self._continued(chunk)
        self._previous = chunk
        return chunk

    def _continued(self, chunk: Any) -> Any:
        host: HostCall = self.request.native
        host.tell(host.sendings[-1])
        return chunk.model_copy(update={"id": self._id})


def _own_chunks(chunk: Chunk, request: Request) -> tuple[ModelResponseStream, ...]:
    """A plugin's answer: its content, then why it ends, then its usage if the caller asked for that."""
    identity = f"chatcmpl-{uuid.uuid4().hex}"
    model = chunk.model or request.model
    calls = [
        {
            "index": call.index,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in chunk.tool_calls
    ]

    def made(delta: Delta, finish_reason: str | None = None, **more: Any) -> ModelResponseStream:
        choice = StreamingChoices(index=0, delta=delta, finish_reason=finish_reason)
        return ModelResponseStream(
            id=identity, created=int(time.time()), model=model, choices=[choice], **more
        )

    chunks = [
        made(Delta(role="assistant", content=chunk.text or None, tool_calls=calls or None)),
        made(Delta(), chunk.finish_reason or "stop"),
    ]
    asked = request.native.kwargs.get("stream_options") or {}
    if asked.get("include_usage"):
        chunks.append(made(Delta(), usage=litellm_usage(chunk.usage)))
    return tuple(chunks)


def _own_stream(request: Request) -> CustomStreamWrapper:
    """What LiteLLM would have opened, for an answer that no provider gave."""
    kwargs = request.native.kwargs
    logging = kwargs.get("litellm_logging_obj") or Logging(
        model=request.model,
        messages=kwargs.get("messages"),
        stream=True,
        call_type="acompletion",
        start_time=datetime.now(),  # noqa: DTZ005 - as LiteLLM does
        litellm_call_id=str(uuid.uuid4()),
        function_id="",
    )
    made = CustomStreamWrapper(
        completion_stream=None, model=request.model, logging_obj=logging, custom_llm_provider="llmgate"
    )
    made._hidden_params |= {"cache_hit": True, "response_cost": 0.0}  # nothing was bought
    return made
