"""Sends attempts through inner chat models: by the methods they override, so that a call stays one run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_llmgate._deferred import Deferred
from langchain_llmgate._leaf import Leaf
from langchain_llmgate._messages import as_chunk, read_message, write_messages
from langchain_llmgate._meter import (
    ChunkMeter,
    finish_reason_of,
    has_content,
    model_of,
    quota_told,
    usage_told,
)
from langchain_llmgate._report import introduce
from langchain_llmgate._splicing import SPLICER
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.services import Clock
from llmgate_plugins.types import Attempt, Message, Request, Response
from llmgate_plugins.usage import usage_from_langchain

if TYPE_CHECKING:
    from langchain_llmgate._fleet import Fleet

__all__ = ["ChatTransport", "Served", "Turn"]

RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """What LangChain's core handed to the gate for this call.

    Attributes:
        words: Call arguments in the OpenAI vocabulary.
        introduces: Whether the first chunk of a stream says who serves.
    """

    messages: Sequence[BaseMessage]
    stop: list[str] | None
    words: Mapping[str, Any]
    run_manager: RunManager = None
    introduces: bool = False

    @classmethod
    def of(cls, request: Request) -> Turn:
        """For a call that did not come from LangChain."""
        words = dict(request.params)
        stop = words.pop("stop", None)
        return cls(
            messages=write_messages(request.messages),
            stop=[stop] if isinstance(stop, str) else stop,
            words=words,
        )


class Served:
    """An inner model's result, read as a neutral message only if somebody asks."""

    __slots__ = ("leaf", "message", "result")

    def __init__(self, leaf: Leaf, result: ChatResult) -> None:
        self.leaf = leaf
        self.result = result
        self.message: Message | None = None

    def read(self) -> Message:
        """The answer as a neutral message."""
        if self.message is None:
            self.message = read_message(self.result.generations[0].message)
        return self.message


class ChatTransport:
    """A transport over a fleet of inner chat models.

    Args:
        turn: The call it is for; None to read each request by itself.
        clock: The gateway's, by which deadlines are told.
    """

    __slots__ = ("_clock", "_fleet", "_turn")

    splicer = SPLICER

    def __init__(self, fleet: Fleet, clock: Clock | None = None, turn: Turn | None = None) -> None:
        self._fleet = fleet
        self._clock = clock
        self._turn = turn

    def send(self, attempt: Attempt, request: Request) -> Response:
        """By the inner model's `_generate`."""
        leaf, turn, given = self._prepared("_generate", attempt, request, keeps_time=True)
        if leaf.model.rate_limiter is not None:
            leaf.model.rate_limiter.acquire(blocking=True)
        return _response(leaf, leaf.model._generate(_prompt(leaf, turn, attempt), **given))

    async def asend(self, attempt: Attempt, request: Request) -> Response:
        """By the inner model's `_agenerate`."""
        leaf, turn, given = self._prepared("_agenerate", attempt, request)
        if leaf.model.rate_limiter is not None:
            await leaf.model.rate_limiter.aacquire(blocking=True)
        return _response(leaf, await leaf.model._agenerate(_prompt(leaf, turn, attempt), **given))

    def open(self, attempt: Attempt, request: Request) -> Iterator[ChatGenerationChunk]:
        """By the inner model's `_stream`; one chunk if it has none."""
        leaf, turn, given = self._prepared("_stream", attempt, request, keeps_time=True)
        if not leaf.streams or leaf.model._streaming_disabled(**turn.words):
            yield self._introduced(as_chunk(self.send(attempt, request).native.result), leaf, turn, attempt)
            return
        if leaf.model.rate_limiter is not None:
            leaf.model.rate_limiter.acquire(blocking=True)
        chunks = iter(leaf.model._stream(_prompt(leaf, turn, attempt), **given))
        for first in chunks:
            yield self._introduced(first, leaf, turn, attempt)
            break
        yield from chunks

    def aopen(self, attempt: Attempt, request: Request) -> AsyncIterator[ChatGenerationChunk]:
        """By the inner model's `_astream`; one chunk if it has none."""
        leaf, turn, given = self._prepared("_astream", attempt, request)
        streams = leaf.astreams and not leaf.model._streaming_disabled(**turn.words)

        async def opened() -> AsyncIterator[ChatGenerationChunk]:
            if not streams:
                return _single(as_chunk((await self.asend(attempt, request)).native.result))
            if leaf.model.rate_limiter is not None:
                await leaf.model.rate_limiter.aacquire(blocking=True)
            return leaf.model._astream(_prompt(leaf, turn, attempt), **given)

        return Deferred(opened, first=lambda chunk: self._introduced(chunk, leaf, turn, attempt))

    def meter(self, attempt: Attempt, request: Request) -> ChunkMeter:
        """Reads LangChain chunks."""
        return ChunkMeter(self._fleet.leaf(attempt.deployment), request)

    def apart(self, request: Request, *, same: bool) -> tuple[ChatTransport, Request]:
        """By the same models, but as no part of this run."""
        turn = None
        if same and self._turn is not None:
            given = self._turn
            turn = Turn(messages=list(given.messages), stop=given.stop, words=dict(given.words))
        request = request.replace(messages=tuple(request.messages), params=dict(request.params))
        return ChatTransport(self._fleet, self._clock, turn), request

    def _prepared(
        self, method: str, attempt: Attempt, request: Request, *, keeps_time: bool = False
    ) -> tuple[Leaf, Turn, dict[str, Any]]:
        """Who is asked, on whose behalf, and with which arguments after the messages.

        Args:
            keeps_time: The inner client has to keep all limits by itself: nobody else can, in a thread.
        """
        leaf = self._fleet.leaf(attempt.deployment)
        turn = self._turn or Turn.of(request)
        given = leaf.words(turn.words, attempt.adapted)
        now = None if self._clock is None else self._clock.monotonic()
        wait = leaf.patience.of(attempt, now, stream=request.stream, whole=keeps_time)
        if wait is not None:
            given["timeout"] = wait
        given["stop"] = turn.stop
        if leaf.takes_manager[method]:
            given["run_manager"] = turn.run_manager
        return leaf, turn, given

    def _introduced(
        self, chunk: ChatGenerationChunk, leaf: Leaf, turn: Turn, attempt: Attempt
    ) -> ChatGenerationChunk:
        introduce(chunk, leaf, attempt, aloud=turn.introduces)
        return chunk


def _prompt(leaf: Leaf, turn: Turn, attempt: Attempt) -> list[BaseMessage]:
    """The messages as the inner model takes them, with what it shall go on from, if anything."""
    messages = leaf.prompt(turn.messages, attempt.adapted)
    return messages if attempt.prefill is None else [*messages, AIMessage(attempt.prefill)]


async def _single(chunk: ChatGenerationChunk) -> AsyncIterator[ChatGenerationChunk]:
    yield chunk


def _response(leaf: Leaf, result: ChatResult) -> Response:
    if not result.generations:
        raise ProviderError("the model gave no generation", code="empty_response")
    generation = result.generations[0]
    message = generation.message
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    model = model_of(message.response_metadata) or (
        model_of(result.llm_output) if result.llm_output else None
    )
    served = Served(leaf, result)
    return Response(
        source=served.read,
        usage=usage_from_langchain(usage, metadata=result.llm_output or message.response_metadata)
        if usage is not None
        else usage_told(result.llm_output, message.response_metadata, generation.generation_info),
        finish_reason=finish_reason_of(generation),
        model=leaf.own_name(model),
        id=message.response_metadata.get("id"),
        deployment_id=leaf.deployment.id,
        quota=quota_told(generation.generation_info, message.response_metadata),
        empty=not has_content(message),  # type: ignore[arg-type]
        native=served,
    )
