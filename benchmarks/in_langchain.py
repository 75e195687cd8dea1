"""LangChain in process: a fake chat model bare, in LangChain's own wrappers, and behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_llmgate import ChatLLMGate

from benchmarks.harness import Case, Suite

__all__ = ["suites"]

CHUNKS = 50
USAGE = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}


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
                content="", usage_metadata=USAGE, response_metadata={"finish_reason": "stop"}
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
    return [
        Suite(
            name="LangChain, invoke",
            unit="call",
            cases=tuple(Case(name=name, run=_invoke(one)) for name, one in models.items()),
            targets={"ChatLLMGate": ("bare model", 1.6)},
        ),
        Suite(
            name="LangChain, ainvoke",
            unit="call",
            cases=tuple(Case(name=name, run=_ainvoke(one)) for name, one in models.items()),
            targets={"ChatLLMGate": ("bare model", 1.6)},
        ),
        Suite(
            name="LangChain, stream",
            unit="chunk",
            cases=tuple(Case(name=name, run=_stream(one), per=CHUNKS) for name, one in models.items()),
            targets={"ChatLLMGate": ("bare model", 1.3)},
        ),
        Suite(
            name="LangChain, astream",
            unit="chunk",
            cases=tuple(Case(name=name, run=_astream(one), per=CHUNKS) for name, one in models.items()),
            targets={"ChatLLMGate": ("bare model", 1.3)},
        ),
    ]


def _invoke(model: Any) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            model.invoke("What is the capital of France?")

    return run


def _ainvoke(model: Any) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            await model.ainvoke("What is the capital of France?")

    return run


def _stream(model: Any) -> Any:
    def run(calls: int) -> None:
        for _ in range(calls):
            for _chunk in model.stream("What is the capital of France?"):
                pass

    return run


def _astream(model: Any) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            async for _chunk in model.astream("What is the capital of France?"):
                pass

    return run
