"""Runs to which nobody listens: without what LangChain's core prepares for listeners alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any, Final

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult, RunInfo
from langchain_core.utils.uuid import uuid7

from langchain_llmgate._admitting import GateSettings
from langchain_llmgate._report import TRACE_KEY

__all__ = ["Pieces", "finished", "is_plain", "is_wrapped", "unheard", "whole"]

RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun

_CORES: Final = {
    name: method
    for name in ("invoke", "ainvoke", "generate", "agenerate", "stream", "astream")
    if type(method := BaseChatModel.__dict__[name]) is FunctionType
    and method.__code__.co_filename == BaseChatModel._generate_with_cache.__code__.co_filename
}
"""The core's methods that are left out where nobody listens: its own, and nobody's wrapped around them."""
_KINDS: Final[Mapping[str, tuple[Any, Any]]] = {
    "generate": (CallbackManager, CallbackManagerForLLMRun),
    "agenerate": (AsyncCallbackManager, AsyncCallbackManagerForLLMRun),
    "stream": (CallbackManager, CallbackManagerForLLMRun),
    "astream": (AsyncCallbackManager, AsyncCallbackManagerForLLMRun),
}


def is_wrapped(method: str) -> bool:
    """Whether a tracer has put itself around this method of the core's."""
    return getattr(BaseChatModel, method) is not _CORES.get(method)


def unheard(
    gate: BaseChatModel, method: str, messages: Sequence[BaseMessage], config: Mapping[str, Any]
) -> Any:
    """A run that an inner model is told of as ever; None where the core itself has to make it.

    It has to where anyone listens: a handler of the call, of the model, of the surroundings or of
    the environment; where a tracer has put itself around the core's `method`; and where messages
    have content blocks, which the core brings into today's shapes.

    Args:
        config: Of the run: its `callbacks`, `tags`, `metadata` and `run_id`.
    """
    callbacks = config.get("callbacks")
    if (
        is_wrapped(method)
        or gate.callbacks
        or gate.verbose
        or (callbacks and (isinstance(callbacks, list) or callbacks.handlers))
        or gate.output_version == "v1"
    ):
        return None
    for message in messages:
        if type(message.content) is not str:
            return None
    managers, runs = _KINDS[method]
    told, own = config.get("metadata"), gate.metadata
    only_own = not told and not callbacks  # with nothing else, merging would take longer than all the rest
    # Tracers bring themselves in where a manager is made, so that only one that was made tells.
    manager = managers.configure(
        callbacks, None, False, config.get("tags"), gate.tags, told, None if only_own else own
    )
    if manager.handlers:
        return None
    return runs(
        run_id=config.get("run_id") or uuid7(),
        handlers=manager.handlers,
        inheritable_handlers=manager.inheritable_handlers,
        parent_run_id=manager.parent_run_id,
        tags=manager.tags,
        inheritable_tags=manager.inheritable_tags,
        metadata=dict(own or {}) if only_own else manager.metadata,
        inheritable_metadata=manager.inheritable_metadata,
    )


def is_plain(gate: GateSettings, words: Mapping[str, Any]) -> bool:
    """Whether the core would do no more for an answer without listeners than to have it made.

    It would where it asks a cache, which is not looked at here.
    """
    return (
        not gate.cache
        and gate.rate_limiter is None
        and not gate.streaming
        and "stream" not in words
        and type(gate)._generate_with_cache is BaseChatModel._generate_with_cache
        and type(gate)._agenerate_with_cache is BaseChatModel._agenerate_with_cache
    )


def finished(result: ChatResult, run: RunManager) -> ChatResult:
    """A plain answer as the core leaves it."""
    for place, generation in enumerate(result.generations):
        message, info = generation.message, generation.generation_info
        if message.id is None:
            message.id = f"lc_run--{run.run_id}-{place}"
        if info and (len(info) > 1 or TRACE_KEY not in info):
            message.response_metadata = _told(info, message.response_metadata)
    if result.llm_output is not None and len(result.generations) == 1:
        message.response_metadata = {**result.llm_output, **message.response_metadata}
    return result


def whole(gate: BaseChatModel, result: ChatResult, run: RunManager) -> LLMResult:
    """The result of such a run as the core gives it."""
    return LLMResult(
        generations=[result.generations],
        llm_output=gate._combine_llm_outputs([result.llm_output]),
        run=[RunInfo(run_id=run.run_id)],
    )


class Pieces:
    """The chunks of such a run as the core gives them. It would keep them all, to tell the whole answer."""

    __slots__ = ("_id", "_last")

    def __init__(self, run: RunManager) -> None:
        self._id = f"lc_run--{run.run_id}"
        self._last: Any = None

    def piece(self, chunk: ChatGenerationChunk) -> AIMessageChunk:
        """What the reader gets of a chunk."""
        message: Any = chunk.message
        if message.id is None:
            message.id = self._id
        if chunk.generation_info:
            message.response_metadata = _told(chunk.generation_info, message.response_metadata)
        self._last = message
        return message  # type: ignore[no-any-return]

    def rest(self) -> list[AIMessageChunk]:
        """What marks the end, where no chunk has done so.

        Raises:
            ValueError: There was no chunk.
        """
        last = self._last
        if last is None:
            raise ValueError("No generation chunks were returned")
        if getattr(last, "chunk_position", "last"):
            return []
        return [
            AIMessageChunk(
                content="" if isinstance(last.content, str) else [], chunk_position="last", id=self._id
            )
        ]


def _told(info: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in info.items() if name != TRACE_KEY}, **metadata}
