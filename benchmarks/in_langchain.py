"""LangChain in process: a chat model bare, in LangChain's own wrappers, and behind the gate.

The bare side is what an application has without a gateway: a `BaseChatModel` called by the same
methods, with the same question and the same configuration. The model answers at once and gives
usage and a finish reason as providers' packages do, so that all that is measured is CPU of this
process, and the gate's share is as large as it can be; the gate is one with all built-in plugins.

Each face is measured twice: without callbacks, where the gate goes without what LangChain's core
prepares for listeners, and with a handler that hears of all events, as tracers and LangGraph do,
where the core does all its work. With a real client over HTTP, see `benchmarks.over_http`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_llmgate import ChatLLMGate

from benchmarks.harness import Case, Suite

__all__ = ["suites"]

CHUNKS = 50
USAGE = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
STREAMED = {"input_tokens": 12, "output_tokens": CHUNKS, "total_tokens": 12 + CHUNKS}
ASKED = "What is the capital of France?"


class Listener(BaseCallbackHandler):
    """Hears of all events, and does nothing: what a real one does would be the same on all sides."""

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """A run begins."""

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        """A chunk has come."""

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        """A run has ended."""


class Fake(BaseChatModel):
    """Answers at once."""

    model_name: str = "fake"

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(
            content="Paris.",
            usage_metadata=USAGE,
            response_metadata={"finish_reason": "stop", "model_name": "fake"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages, stop, None, **kwargs)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for _ in range(CHUNKS - 1):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="", usage_metadata=STREAMED, response_metadata={"finish_reason": "stop"}
            )
        )

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, None, **kwargs):
            yield chunk


def suites() -> list[Suite]:
    bare, spare = Fake(), Fake()
    models: dict[str, Any] = {
        "bare model": bare,
        "with_fallbacks": bare.with_fallbacks([spare]),
        "with_retry": bare.with_retry(),
        "ChatLLMGate": ChatLLMGate.from_models({"fast": [bare, spare]}),
    }
    faces: dict[str, Any] = {"invoke": _invoke, "ainvoke": _ainvoke, "stream": _stream, "astream": _astream}
    heard: dict[str, Any] = {"": None, ", with a callback handler": {"callbacks": [Listener()]}}
    return [
        _suite(f"LangChain, {face}{how}", models, by, config, in_chunks="stream" in face)
        for face, by in faces.items()
        for how, config in heard.items()
    ]


def _suite(name: str, models: dict[str, Any], by: Any, config: Any, *, in_chunks: bool) -> Suite:
    per, unit, most = (CHUNKS, "chunk", 1.2) if in_chunks else (1, "call", 1.4)
    return Suite(
        name=name,
        unit=unit,
        cases=tuple(Case(name=one, run=by(model, config), per=per) for one, model in models.items()),
        targets={"ChatLLMGate": ("bare model", most)},
    )


def _invoke(model: Any, config: Any) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            model.invoke(ASKED, config)

    return run


def _ainvoke(model: Any, config: Any) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await model.ainvoke(ASKED, config)

    return run


def _stream(model: Any, config: Any) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            for _chunk in model.stream(ASKED, config):
                pass

    return run


def _astream(model: Any, config: Any) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            async for _chunk in model.astream(ASKED, config):
                pass

    return run
