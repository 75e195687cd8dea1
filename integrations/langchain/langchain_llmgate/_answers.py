"""A gate's whole answers, asked for through LangChain's core, or past what it does for listeners alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from langchain_core.callbacks import Callbacks
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_llmgate._admission import ADMISSION, Admission
from langchain_llmgate._caller import labels
from langchain_llmgate._leaf import TRACED_ONLY
from langchain_llmgate._serving import GateServing
from langchain_llmgate._unheard import finished, is_plain, is_wrapped, unheard, whole

__all__ = ["GateAnswers", "taken"]

RUN: Final = ("callbacks", "tags", "metadata", "run_name", "run_id")
"""What LangChain's core is told of a run, by these names."""


class GateAnswers(GateServing):
    """How calls for one whole answer come in."""

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """One answer."""
        words = self._heard(config, kwargs)
        if is_wrapped("invoke") or type(self).generate is not _OWN[0] or (kwargs and _is_run(kwargs)):
            return super().invoke(input, config, stop=stop, **words)
        run = ensure_config(config)
        result, alone = self._one(self._convert_input(input).to_messages(), stop, run, words)
        first = result.generations[0]
        return (first[0] if alone is None else first).message  # type: ignore[no-any-return]

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """One answer, for an event loop."""
        words = self._heard(config, kwargs)
        if is_wrapped("ainvoke") or type(self).agenerate is not _OWN[1] or (kwargs and _is_run(kwargs)):
            return await super().ainvoke(input, config, stop=stop, **words)
        run = ensure_config(config)
        result, alone = await self._aone(self._convert_input(input).to_messages(), stop, run, words)
        first = result.generations[0]
        return (first[0] if alone is None else first).message  # type: ignore[no-any-return]

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
            runs = _apart(messages, run)
            return _merged([self.generate([prompt], stop, **one, **kwargs) for prompt, one in runs])
        result, alone = self._one(messages[0], stop, run, kwargs)
        return result if alone is None else whole(self, result, alone)

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
            runs = _apart(messages, run)
            calls = [self.agenerate([prompt], stop, **one, **kwargs) for prompt, one in runs]
            return _merged(await asyncio.gather(*calls, return_exceptions=True))
        result, alone = await self._aone(messages[0], stop, run, kwargs)
        return result if alone is None else whole(self, result, alone)

    def _one(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run: Mapping[str, Any],
        words: dict[str, Any],
    ) -> tuple[Any, Any]:
        """The core's result and None; or a mere `ChatResult` and the run to which nobody listened."""
        admission = words.pop(ADMISSION, None)
        traced = taken(words, TRACED_ONLY)
        if admission is None:
            tags = labels(run.get("tags"), run.get("metadata"))
            asked, told = self._asked(messages, stop, words, tags, stream=False)
            admission = Admission(self.gateway, self.gateway.admit(asked, **told), asked)
        prompt, stop, given = admission.messages, admission.stop, self._on(admission)
        with admission:
            asks_cache = self._asks_cache
            if asks_cache:
                admission.look_for_origins()
            alone = unheard(self, "generate", prompt, run)
            if alone is None:
                return super().generate([prompt], stop, **_told(run), **traced, **given), None
            if not asks_cache and is_plain(self, given):
                return finished(self._generate(prompt, stop, alone, **given), alone), alone
            return self._generate_with_cache(prompt, stop, alone, **given), alone

    async def _aone(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run: Mapping[str, Any],
        words: dict[str, Any],
    ) -> tuple[Any, Any]:
        """The same for an event loop."""
        admission = words.pop(ADMISSION, None)
        traced = taken(words, TRACED_ONLY)
        if admission is None:
            tags = labels(run.get("tags"), run.get("metadata"))
            asked, told = self._asked(messages, stop, words, tags, stream=False)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, **told), asked)
        prompt, stop, given = admission.messages, admission.stop, self._on(admission)
        async with admission:
            asks_cache = self._asks_cache
            if asks_cache:
                await admission.alook_for_origins()
            alone = unheard(self, "agenerate", prompt, run)
            if alone is None:
                return await super().agenerate([prompt], stop, **_told(run), **traced, **given), None
            if not asks_cache and is_plain(self, given):
                return finished(await self._agenerate(prompt, stop, alone, **given), alone), alone
            return await self._agenerate_with_cache(prompt, stop, alone, **given), alone


_OWN: Final = (GateAnswers.generate, GateAnswers.agenerate)
"""Without a subclass's or a tracer's in their place, `invoke` need not go through them."""


def _is_run(words: Mapping[str, Any]) -> bool:
    """Whether the core would refuse these words, since they are names of its own."""
    return not words.keys().isdisjoint(RUN)


def _apart(
    messages: Sequence[list[BaseMessage]], run: dict[str, Any]
) -> list[tuple[list[BaseMessage], dict[str, Any]]]:
    """Each prompt with a run of its own; the id is the first one's."""
    return [(prompt, {**run, "run_id": None} if place else run) for place, prompt in enumerate(messages)]


def _told(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: run.get(name) for name in RUN}


def taken(words: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
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
