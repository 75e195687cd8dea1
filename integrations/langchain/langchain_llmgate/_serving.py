"""What LangChain's core calls to have an admitted call carried out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_llmgate._admission import ADMISSION, Admission
from langchain_llmgate._admitting import GateSettings
from langchain_llmgate._caller import labels
from langchain_llmgate._messages import answer_result, rewrite_message
from langchain_llmgate._outlet import Outlet
from langchain_llmgate._report import report
from langchain_llmgate._tools import structure_of
from langchain_llmgate._transport import ChatTransport, Served, Turn
from llmgate_plugins.types import Message, Response

__all__ = ["GateServing"]


class GateServing(GateSettings):
    """Carries calls out: through the gateway, to inner models, and back into LangChain's shapes."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:  # asked flat, by a gate above this one
            asked, told = self._asked(messages, stop, kwargs, labels(None), stream=False)
            admission = Admission(self.gateway, self.gateway.admit(asked, **told), asked)
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
            asked, told = self._asked(messages, stop, kwargs, labels(None), stream=False)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, **told), asked)
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
            asked, told = self._asked(messages, stop, kwargs, labels(None), stream=True)
            admission = Admission(self.gateway, self.gateway.admit(asked, **told), asked)
            messages, stop = admission.messages, admission.stop
        admission.opened = self._relayed(admission, messages, stop, run_manager)
        return admission.opened  # type: ignore[no-any-return]

    def _relayed(self, admission: Admission, messages: Any, stop: Any, run_manager: Any) -> Iterator[Any]:
        call = admission.call
        outlet = self._outlet(admission, told_in_events=run_manager is not None)
        transport = self._transport(admission, messages, stop, run_manager)
        plain = call.answer is None and not outlet.joins
        for chunk in self.gateway.stream(call, transport=transport):
            if plain and chunk.generation_info is None:
                message = chunk.message
                if message.usage_metadata is None and message.chunk_position is None:
                    yield chunk  # a mere piece of the answer
                    continue
            yield from outlet.pass_on(chunk)
        yield from outlet.close(tells=self._tells(admission), whole=run_manager is not None)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        admission = kwargs.pop(ADMISSION, None)
        if admission is None:
            asked, told = self._asked(messages, stop, kwargs, labels(None), stream=True)
            admission = Admission(self.gateway, await self.gateway.aadmit(asked, **told), asked)
            messages, stop = admission.messages, admission.stop
        call = admission.call
        outlet = self._outlet(admission, told_in_events=run_manager is not None)
        transport = self._transport(admission, messages, stop, run_manager)
        plain = call.answer is None and not outlet.joins
        chunks = admission.opened = self.gateway.astream(call, transport=transport)
        async with aclosing(chunks):
            async for chunk in chunks:
                if plain and chunk.generation_info is None:
                    message = chunk.message
                    if message.usage_metadata is None and message.chunk_position is None:
                        yield chunk  # a mere piece of the answer
                        continue
                for out in outlet.pass_on(chunk):
                    yield out
        for out in outlet.close(tells=self._tells(admission), whole=run_manager is not None):
            yield out

    def _outlet(self, admission: Admission, *, told_in_events: bool) -> Outlet:
        """For a call's stream.

        A structured answer ends where it breaks: its parser is the first deployment's. And
        version 3 of LangChain's events has no way to say that text is void, so that an
        answer goes on there instead of beginning anew.
        """
        call = admission.call
        on_break = wanted = call.request.on_break or self.gateway.on_break
        if on_break in ("restart", "resume"):
            if structure_of(admission.words) is not None:
                on_break = "raise"
            elif told_in_events:
                on_break = "resume"
        if on_break != wanted:
            call.request = call.request.replace(on_break=on_break)
        return Outlet(call, on_break)

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
        """The inner model's own result, changed as a review changed it; or a plugin's own answer."""
        served, source = response.native, response.source
        if admission.call.answer is not None or not isinstance(served, Served):
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


for _method in (GateServing.__dict__["_generate"], GateServing.__dict__["_agenerate"]):
    # LangChain's core reads these signatures at every call; read once, that costs a fifth as much.
    _method.__signature__ = inspect.signature(_method)
