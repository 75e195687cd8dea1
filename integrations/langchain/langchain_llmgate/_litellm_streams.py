"""LiteLLM ends a stream that was cut with a finish reason of its own making; here it is found out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from llmgate_plugins.errors import ProviderError

__all__ = ["watched"]

ENDS_WITH_A_REASON: Final = frozenset({"openai", "azure", "anthropic"})
"""Providers that always say why a stream ended. From them, a stream that does not was cut."""


def watched(model: BaseChatModel) -> BaseChatModel:
    """A copy of a ChatLiteLLM whose streams are as whole as they say."""
    client = getattr(model, "client", None)
    if isinstance(client, _Watched) or not hasattr(client, "acompletion"):
        return model
    return model.model_copy(update={"client": _Watched(client)})


class _Watched:
    """LiteLLM, with its streams checked."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def completion(self, **words: Any) -> Any:
        answer = self._client.completion(**words)
        return _checked(answer) if _is_stream(answer) else answer

    async def acompletion(self, **words: Any) -> Any:
        answer = await self._client.acompletion(**words)
        return _achecked(answer) if _is_stream(answer) else answer


def _is_stream(answer: Any) -> bool:
    """Whether it is LiteLLM's own stream, which knows what the provider said."""
    return (
        hasattr(answer, "received_finish_reason")
        and getattr(answer, "custom_llm_provider", None) in ENDS_WITH_A_REASON
    )


def _checked(stream: Any) -> Iterator[Any]:
    try:
        for chunk in stream:
            _check(chunk, stream)
            yield chunk
    finally:
        close = getattr(stream.completion_stream, "close", None)
        if close is not None:
            close()


async def _achecked(stream: Any) -> AsyncIterator[Any]:
    try:
        async for chunk in stream:
            _check(chunk, stream)
            yield chunk
    finally:
        await stream.aclose()


def _check(chunk: Any, stream: Any) -> None:
    if (
        stream.received_finish_reason is None
        and stream.intermittent_finish_reason is None
        and chunk.choices
        and chunk.choices[0].finish_reason is not None
    ):
        raise ProviderError("the stream ended without a finish reason", code="truncated")
