"""A gate's runs: every entrance into LangChain's core, with policy before the trace and the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_llmgate._admission import Admission
from langchain_llmgate._answers import GateAnswers, taken
from langchain_llmgate._deferred import Deferred
from langchain_llmgate._leaf import TRACED_ONLY
from langchain_llmgate._unheard import Pieces, unheard

__all__ = ["GateRuns"]


class GateRuns(GateAnswers):
    """How calls come in. What is called, and how it is configured, stands in `ChatLLMGate`."""

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """The answer as it comes."""
        words = self._heard(config, kwargs)
        config = ensure_config(config)
        traced = taken(words, TRACED_ONLY)
        with Admission(
            self.gateway, *self._admitted(input, config, stop, words, async_api=False)
        ) as admission:
            prompt, stop, given = admission.messages, admission.stop, self._on(admission)
            alone = self._streams_unheard("stream", admission, config)
            if alone is None:
                yield from super().stream(prompt, config, stop=stop, **traced, **given)
                return
            if self.rate_limiter:
                self.rate_limiter.acquire(blocking=True)
            pieces = Pieces(alone)
            yield from map(pieces.piece, self._stream(prompt, stop=stop, **given))
            yield from pieces.rest()

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """The answer as it comes, for an event loop."""
        admission: Admission | None = None
        core = super().astream

        async def opened() -> AsyncIterator[AIMessageChunk]:
            nonlocal admission
            words = self._heard(config, kwargs)
            settled = ensure_config(config)
            traced = taken(words, TRACED_ONLY)
            admission = await self._aadmitted(input, settled, stop, words)
            given = self._on(admission)
            alone = self._streams_unheard("astream", admission, settled)
            if alone is None:
                return core(admission.messages, settled, stop=admission.stop, **traced, **given)
            return self._apieces(admission, Pieces(alone), given)

        async def closed() -> None:
            if admission is not None:
                await admission.aclose()

        return Deferred(opened, close=closed)

    def _streams_unheard(self, method: str, admission: Admission, config: RunnableConfig) -> Any:
        """The run, if it streams and nobody listens."""
        return unheard(self, method, admission.messages, config) if admission.call.request.stream else None

    async def _apieces(
        self, admission: Admission, pieces: Pieces, given: dict[str, Any]
    ) -> AsyncIterator[AIMessageChunk]:
        if self.rate_limiter:
            await self.rate_limiter.aacquire(blocking=True)
        piece = pieces.piece
        async for chunk in self._astream(admission.messages, stop=admission.stop, **given):
            yield piece(chunk)
        for rest in pieces.rest():
            yield rest

    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Any = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Events of one call. Version 3 is admitted at once, the others when they are read."""
        if version != "v3":
            return super().stream_events(input, config, version=version, stop=stop, **kwargs)
        words = self._heard(config, kwargs)
        traced = taken(words, TRACED_ONLY)
        admitted = self._admitted(input, ensure_config(config), stop, words, async_api=False)
        admission = Admission(self.gateway, *admitted)
        given = {**traced, **self._on(admission)}
        return super().stream_events(admission.messages, config, version="v3", stop=admission.stop, **given)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Any = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Events of one call, for an event loop: to be awaited in version 3, to be iterated in the others."""
        if version != "v3":
            return super().astream_events(input, config, version=version, stop=stop, **kwargs)
        return self._aevents(input, config, stop, kwargs)

    async def _aevents(self, input: Any, config: Any, stop: Any, words: dict[str, Any]) -> Any:
        words = self._heard(config, words)
        traced = taken(words, TRACED_ONLY)
        admission = await self._aadmitted(input, ensure_config(config), stop, words)
        given = {**traced, **self._on(admission)}
        return await super().astream_events(
            admission.messages, config, version="v3", stop=admission.stop, **given
        )
