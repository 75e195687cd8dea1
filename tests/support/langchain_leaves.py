"""Inner chat models over simulated providers, of each kind that a gate is tested over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from llmgate_plugins.testing import ProviderSimulator, SimulatedProvider

__all__ = [
    "LEAVES",
    "MODELS",
    "OTHER_MODELS",
    "USED",
    "Fake",
    "FakeWithoutStream",
    "fake",
    "leaf",
    "simulator",
]

USED = UsageMetadata(input_tokens=3, output_tokens=2, total_tokens=5)

LEAVES = ("openai", "anthropic", "litellm")
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "litellm": "gpt-4o-mini"}
OTHER_MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "litellm": "gpt-4o"}


@cache
def simulator() -> ProviderSimulator:
    """One simulator for the whole run; each test takes a provider of its own name."""
    return ProviderSimulator(seed=7).start()


def leaf(
    kind: str, provider: SimulatedProvider, *, model: str | None = None, dead: bool = False, **settings: Any
) -> BaseChatModel:
    """A chat model of this kind over this provider.

    Args:
        dead: Point it where nobody listens.
    """
    name = model or MODELS[kind]
    address = provider.closed_url if dead else provider.openai_base_url
    key = "sk-simulated-key"
    if kind == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=name, base_url=address, api_key=key, **settings)
    if kind == "anthropic":
        from langchain_anthropic import ChatAnthropic

        url = provider.closed_url.removesuffix("/v1") if dead else provider.anthropic_base_url
        return ChatAnthropic(model=name, base_url=url, api_key=key, **settings)
    import litellm
    from langchain_litellm import ChatLiteLLM

    litellm.suppress_debug_info = True
    litellm.disable_aiohttp_transport = True  # its sessions are never closed and complain much later
    return ChatLiteLLM(model=f"openai/{name}", api_base=address, api_key=key, **settings)


class Fake(BaseChatModel):
    """An inner model in this process: answers in pieces, fails as told, remembers what it was asked.

    Attributes:
        pieces: What it streams; joined, what it answers.
        errors: Raised one per call, before anything; None is no error.
        breaks_after: A stream raises `ConnectionError` after so many pieces.
        asked: (messages, stop, kwargs) of each call.
        closed: How many streams were left early and closed.
    """

    pieces: tuple[str, ...] = ("hel", "lo")
    errors: list[Any] = Field(default_factory=list)
    breaks_after: int | None = None
    pause: float = 0.0
    asked: list[Any] = Field(default_factory=list)
    closed: list[str] = Field(default_factory=list)
    name_told: str = "fake-model"

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "fake", "ls_model_name": self.name_told, "ls_model_type": "chat"}

    def _meet(self, messages: Any, stop: Any, kwargs: Any) -> None:
        self.asked.append((messages, stop, kwargs))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self._meet(messages, stop, kwargs)
        return self._answer()

    def _answer(self) -> ChatResult:
        message = AIMessage("".join(self.pieces), usage_metadata=USED, response_metadata=self._metadata())
        return ChatResult(
            generations=[ChatGeneration(message=message, generation_info={"finish_reason": "stop"})]
        )

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self._meet(messages, stop, kwargs)
        await asyncio.sleep(self.pause)
        return self._answer()

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("", response_metadata=self._metadata()))
        for number, piece in enumerate(self.pieces):
            if number == self.breaks_after:
                raise ConnectionError("the line went dead")
            yield ChatGenerationChunk(message=AIMessageChunk(piece))
        yield ChatGenerationChunk(
            message=AIMessageChunk("", usage_metadata=USED), generation_info={"finish_reason": "stop"}
        )

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self._meet(messages, stop, kwargs)
        try:
            yield from self._chunks()
        except GeneratorExit:
            self.closed.append("sync")
            raise

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._meet(messages, stop, kwargs)
        try:
            for chunk in self._chunks():
                yield chunk
                await asyncio.sleep(self.pause)
        except (GeneratorExit, asyncio.CancelledError):
            self.closed.append("async")
            raise

    def _metadata(self) -> dict[str, Any]:
        return {"model_name": self.name_told, "model_provider": "fake"}


class FakeWithoutStream(BaseChatModel):
    """An inner model that only answers as a whole."""

    @property
    def _llm_type(self) -> str:
        return "fake-without-stream"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("all at once", usage_metadata=USED))])


def fake(name: str = "fake-model", **settings: Any) -> Fake:
    """A fresh fake that says it is of this model."""
    return Fake(name_told=name, **settings)
