"""A gate's runs: every entrance into LangChain's core, with policy before the trace and the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import Callbacks
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_llmgate._admission import ADMISSION, Admission
from langchain_llmgate._caller import labels
from langchain_llmgate._deferred import Deferred
from langchain_llmgate._leaf import TRACED_ONLY
from langchain_llmgate._serving import GateServing
from langchain_llmgate._unheard import Pieces, finished, is_plain, unheard, whole

__all__ = ["GateRuns"]


class GateRuns(GateServing):
    """How calls come in. What is called, and how it is configured, stands in `ChatLLMGate`."""

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """One answer."""
        return super().invoke(input, config, **self._heard(config, kwargs))

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """One answer, for an event loop."""
        return await super().ainvoke(input, config, **self._heard(config, kwargs))

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """An answer to each prompt. Each is a call of its own, admitted by itself."""
        run: dict[str, Any] = {
            "callbacks": callbacks,
            "tags": tags,
            "metadata": metadata,
            "run_name": run_name,
            "run_id": run_id,
        }
        if len(messages) != 1:
            ids = [run_id, *[None] * (len(messages) - 1)]
            return _merged(
                [
                    self.generate([prompt], stop, **{**run, "run_id": identity}, **kwargs)
                    for prompt, identity in zip(messages, ids, strict=False)
                ]
            )
        admission = kwargs.pop(ADMISSION, None)
        traced = _taken(kwargs, TRACED_ONLY)
        if admission is None:
            asked, told = self._asked(messages[0], stop, kwargs, labels(tags, metadata), stream=False)
            admission = Admission(self.gateway, self.gateway.admit(asked, **told), asked)
        prompt, stop, given = admission.messages, admission.stop, self._on(admission)
        with admission:
            if self._asks_cache:
                admission.look_for_origins()
            alone = unheard(self, "generate", prompt, run)
            if alone is None:
                return super().generate([prompt], stop, **run, **traced, **given)
            if is_plain(self, given):
                result = finished(self._generate(prompt, stop, alone, **given), alone)
            else:
                result = self._generate_with_cache(prompt, stop, alone, **given)
            return whole(self, result, alone)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """`generate` for an event loop; the prompts run side by side."""
        run: dict[str, Any] = {
            "callbacks": callbacks,
            "tags": tags,
            "metadata": metadata,
            "run_name": run_name,
            "run_id": run_id,
        }
        if len(messages) != 1:
            ids = [run_id, *[None] * (len(messages) - 1)]
            calls = [
                self.agenerate([prompt], stop, **{**run, "run_id": identity}, **kwargs)
                for prompt, identity in zip(messages, ids, strict=False)
            ]
            return _merged(await asyncio.gather(*calls, return_exceptions=True))
        admission = kwargs.pop(ADMISSION, None)
        traced = _taken(kwargs, TRACED_ONLY)
        if admission is None:
            asked, told = self._asked(messages[0], stop, kwargs, labels(tags, metadata), stream=False)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, **told), asked)
        prompt, stop, given = admission.messages, admission.stop, self._on(admission)
        async with admission:
            if self._asks_cache:
                await admission.alook_for_origins()
            alone = unheard(self, "agenerate", prompt, run)
            if alone is None:
                return await super().agenerate([prompt], stop, **run, **traced, **given)
            if is_plain(self, given):
                result = finished(await self._agenerate(prompt, stop, alone, **given), alone)
            else:
                result = await self._agenerate_with_cache(prompt, stop, alone, **given)
            return whole(self, result, alone)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """The answer as it comes."""
        config = ensure_config(config)
        traced = _taken(kwargs, TRACED_ONLY)
        with Admission(
            self.gateway, *self._admitted(input, config, stop, kwargs, async_api=False)
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
            settled = ensure_config(config)
            traced = _taken(kwargs, TRACED_ONLY)
            admission = await self._aadmitted(input, settled, stop, kwargs)
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
        traced = _taken(kwargs, TRACED_ONLY)
        admitted = self._admitted(input, ensure_config(config), stop, kwargs, async_api=False)
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
        traced = _taken(words, TRACED_ONLY)
        admission = await self._aadmitted(input, ensure_config(config), stop, words)
        given = {**traced, **self._on(admission)}
        return await super().astream_events(
            admission.messages, config, version="v3", stop=admission.stop, **given
        )


def _taken(words: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Takes what is only for traces out of the words."""
    if names.isdisjoint(words):
        return {}
    return {name: words.pop(name) for name in names if name in words}


def _merged(results: Sequence[LLMResult | BaseException]) -> LLMResult:
    """One result of several calls. Raises the first error."""
    whole: list[LLMResult] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        whole.append(result)
    return LLMResult(
        generations=[generations for one in whole for generations in one.generations],
        llm_output={},
        run=[run for one in whole for run in one.run or ()] or None,
    )
