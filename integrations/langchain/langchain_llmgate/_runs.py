"""A gate's runs: every entrance into LangChain's core, with policy before the trace and the cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import Field, InstanceOf

from langchain_llmgate._admission import ADMISSION, Admission, ask
from langchain_llmgate._caller import (
    CONTEXT_KEY,
    ambient_context,
    configured_context,
    configured_words,
    labels,
)
from langchain_llmgate._leaf import TRACED_ONLY
from langchain_llmgate._messages import answer_chunk, answer_result, rewrite_message
from langchain_llmgate._report import closing_chunk, report
from langchain_llmgate._tools import structure_of
from langchain_llmgate._transport import ChatTransport, Served, Turn
from llmgate_plugins.context import Context
from llmgate_plugins.types import Message, Request, Response

__all__ = ["PRIVATE", "GateRuns"]

PRIVATE: Final = (ADMISSION, CONTEXT_KEY)
"""Call arguments of our own, which no trace, cache key or inner model sees."""


class GateRuns(BaseChatModel):
    """How a call runs. What is called, and how it is configured, stands in `ChatLLMGate`."""

    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    timeout: float | None = None
    streaming: bool = False
    context: InstanceOf[Context] | None = Field(default=None, exclude=True, repr=False)
    annotate: bool = True
    configurable: tuple[str, ...] = ()
    config_prefix: str = ""
    gateway: Any = Field(default=None, exclude=True, repr=False)
    fleet: Any = Field(default=None, exclude=True, repr=False)

    # ------------------------------------------------------------ entrances

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
        run: dict[str, Any] = {"callbacks": callbacks, "tags": tags, "metadata": metadata, "run_name": run_name}
        if len(messages) != 1:
            ids = [run_id, *[None] * (len(messages) - 1)]
            return _merged(
                [
                    self.generate([prompt], stop, run_id=identity, **run, **kwargs)
                    for prompt, identity in zip(messages, ids, strict=False)
                ]
            )
        admission = kwargs.pop(ADMISSION, None)
        traced = _taken(kwargs, TRACED_ONLY)
        if admission is None:
            asked, context = self._asked(messages[0], stop, kwargs, labels(tags, metadata), stream=False)
            admission = Admission(self.gateway, self.gateway.admit(asked, context=context), asked)
        with admission:
            return super().generate(
                [admission.messages], admission.stop, run_id=run_id, **run, **traced, **self._on(admission)
            )

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
        run: dict[str, Any] = {"callbacks": callbacks, "tags": tags, "metadata": metadata, "run_name": run_name}
        if len(messages) != 1:
            ids = [run_id, *[None] * (len(messages) - 1)]
            calls = [
                self.agenerate([prompt], stop, run_id=identity, **run, **kwargs)
                for prompt, identity in zip(messages, ids, strict=False)
            ]
            return _merged(await asyncio.gather(*calls, return_exceptions=True))
        admission = kwargs.pop(ADMISSION, None)
        traced = _taken(kwargs, TRACED_ONLY)
        if admission is None:
            asked, context = self._asked(messages[0], stop, kwargs, labels(tags, metadata), stream=False)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, context=context), asked)
        async with admission:
            return await super().agenerate(
                [admission.messages], admission.stop, run_id=run_id, **run, **traced, **self._on(admission)
            )

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
        with Admission(self.gateway, *self._admitted(input, config, stop, kwargs, async_api=False)) as admission:
            yield from super().stream(
                admission.messages, config, stop=admission.stop, **traced, **self._on(admission)
            )

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """The answer as it comes, for an event loop."""
        config = ensure_config(config)
        traced = _taken(kwargs, TRACED_ONLY)
        admission = await self._aadmitted(input, config, stop, kwargs)
        async with admission:
            chunks = super().astream(
                admission.messages, config, stop=admission.stop, **traced, **self._on(admission)
            )
            async with aclosing(chunks):  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk

    def stream_events(  # type: ignore[override]
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

    def astream_events(  # type: ignore[override]
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

    # ------------------------------------------------------------ what the core calls

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:  # asked flat, by a gate above this one
            asked, context = self._asked(messages, stop, kwargs, labels(None), stream=False)
            admission = Admission(self.gateway, self.gateway.admit(asked, context=context), asked)
            messages, stop = admission.messages, admission.stop
        transport = self._transport(admission, messages, stop, run_manager)
        return self._result(admission, self.gateway.complete(admission.call, transport=transport))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:
            asked, context = self._asked(messages, stop, kwargs, labels(None), stream=False)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, context=context), asked)
            messages, stop = admission.messages, admission.stop
        transport = self._transport(admission, messages, stop, run_manager)
        return self._result(admission, await self.gateway.acomplete(admission.call, transport=transport))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:
            asked, context = self._asked(messages, stop, kwargs, labels(None), stream=True)
            admission = Admission(self.gateway, self.gateway.admit(asked, context=context), asked)
            messages, stop = admission.messages, admission.stop
        admission.opened = self._relayed(admission, messages, stop, run_manager)
        return admission.opened  # type: ignore[no-any-return]

    def _relayed(self, admission: Admission, messages: Any, stop: Any, run_manager: Any) -> Iterator[Any]:
        call, last = admission.call, None
        transport = self._transport(admission, messages, stop, run_manager)
        for chunk in self.gateway.stream(call, transport=transport):
            if last is not None:
                yield last
                last = None
            if call.answer is not None:
                last = answer_chunk(chunk)
            elif chunk.message.chunk_position == "last":
                last = chunk
            else:
                yield chunk
        if self._tells(admission):
            yield closing_chunk(last, call, whole=run_manager is not None or call.answer is not None)
        elif last is not None:
            yield last

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:
            asked, context = self._asked(messages, stop, kwargs, labels(None), stream=True)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, context=context), asked)
            messages, stop = admission.messages, admission.stop
        call, last = admission.call, None
        transport = self._transport(admission, messages, stop, run_manager)
        chunks = admission.opened = self.gateway.astream(call, transport=transport)
        async with aclosing(chunks):
            async for chunk in chunks:
                if last is not None:
                    yield last
                    last = None
                if call.answer is not None:
                    last = answer_chunk(chunk)
                elif chunk.message.chunk_position == "last":
                    last = chunk
                else:
                    yield chunk
        if self._tells(admission):
            yield closing_chunk(last, call, whole=run_manager is not None or call.answer is not None)
        elif last is not None:
            yield last

    # ------------------------------------------------------------ admission

    def _heard(self, config: RunnableConfig | None, words: dict[str, Any]) -> dict[str, Any]:
        """The call's words, with what the run's configuration says of who is calling."""
        context = configured_context(config)
        if context is not None:
            words = {CONTEXT_KEY: context, **words}
        if self.configurable:
            words = {**configured_words(config, self.configurable, self.config_prefix), **words}
        return words

    def _asked(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        words: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        stream: bool,
    ) -> tuple[Request, Context | None]:
        """The neutral request, and who is calling: the run's configuration wins over the gate's own."""
        params = dict(words)
        if self.temperature is not None:
            params.setdefault("temperature", self.temperature)
        if self.max_tokens is not None:
            params.setdefault("max_tokens", self.max_tokens)
        stop = stop or self.stop
        if stop:
            params["stop"] = stop
        context = params.pop(CONTEXT_KEY, None) or ambient_context() or self.context
        asked = ask(
            params.pop("model", None) or self.model,
            messages,
            params,
            tags=tags,
            stream=stream,
            timeout=params.pop("timeout", self.timeout),
        )
        return asked, context

    def _admitted(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any], *, async_api: bool
    ) -> Any:
        """The admitted call and the request it was admitted for."""
        asked, context = self._asked_to_stream(input, config, stop, words, async_api=async_api)
        return self.gateway.admit(asked, context=context), asked

    async def _aadmitted(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any]
    ) -> Admission:
        asked, context = self._asked_to_stream(input, config, stop, words, async_api=True)
        return Admission(self.gateway, await self.gateway.aadmit(asked, context=context), asked)

    def _asked_to_stream(
        self, input: Any, config: RunnableConfig, stop: Any, words: dict[str, Any], *, async_api: bool
    ) -> tuple[Request, Context | None]:
        return self._asked(
            self._convert_input(input).to_messages(),
            stop,
            self._heard(config, words),
            labels(config.get("tags"), config.get("metadata")),
            stream=self._should_stream(async_api=async_api, **{**words, "stream": True}),
        )

    def _on(self, admission: Admission) -> dict[str, Any]:
        """What the core hands on to `_generate` and its like. A changed model is told to traces and caches."""
        given = admission.handed_on
        if admission.call.request.model != self.model:
            given["model"] = admission.call.request.model
        return given

    # ------------------------------------------------------------ answers

    def _transport(self, admission: Admission, messages: Any, stop: Any, run_manager: Any) -> ChatTransport:
        turn = Turn(
            messages=messages,
            stop=stop,
            words=admission.words,
            run_manager=run_manager,
            introduces=run_manager is None and self._tells(admission),
        )
        return ChatTransport(self.fleet, self.gateway.services.clock, turn)

    def _result(self, admission: Admission, response: Response) -> ChatResult:
        """The inner model's own result; a review's change of it, or a plugin's own answer, carried into one."""
        served, source = response.native, response.source
        if not isinstance(served, Served):
            result, leaf = answer_result(response), None
        else:
            result, leaf = served.result, served.leaf
            if isinstance(source, Message) and source is not served.message:
                result.generations[0] = result.generations[0].model_copy(
                    update={"message": rewrite_message(source)}
                )
        for generation in result.generations:
            report(generation, admission.call, leaf, aloud=self._tells(admission))
        return result

    def _tells(self, admission: Admission) -> bool:
        """A structured answer says who served in any case: its parser is that deployment's."""
        return self.annotate or structure_of(admission.words) is not None


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
