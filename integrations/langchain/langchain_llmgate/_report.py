"""What an answer says about its way here: `response_metadata["llmgate"]`, and the same for traces."""

from __future__ import annotations

from typing import Any, Final

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from langchain_llmgate._leaf import Leaf
from llmgate_plugins.context import Call
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.types import NANO, Attempt

__all__ = ["KEY", "closing_chunk", "introduce", "report"]

KEY: Final = "llmgate"
TRACE_KEY: Final = "lc_gateway_metadata"
"""LangChain's core takes it off the message and hands it to tracers, who then name the served model."""


def introduce(chunk: ChatGenerationChunk, leaf: Leaf, attempt: Attempt, *, aloud: bool) -> None:
    """Write on a stream's first chunk who serves it. On one chunk only: merging joins strings."""
    deployment = attempt.deployment
    told = {
        "provider": leaf.provider,
        "model": deployment.model,
        "deployment": deployment.id,
        "decision_id": attempt.call_id,
        "attempt": attempt.number,
    }
    info = chunk.generation_info
    chunk.generation_info = {**info, TRACE_KEY: told} if info else {TRACE_KEY: told}
    if aloud:
        message = chunk.message
        message.response_metadata = {**message.response_metadata, KEY: _identity(attempt)}


def report(generation: ChatGeneration, call: Call, leaf: Leaf | None, *, aloud: bool) -> None:
    """Write on a whole answer who served it, after what, and at what cost."""
    record = call.record
    costs = _costs(record)
    if leaf is not None:
        attempt = record.attempts[-1][0]
        told: dict[str, Any] = {
            "provider": leaf.provider,
            "model": attempt.deployment.model,
            "deployment": attempt.deployment.id,
            "decision_id": call.id,
            "attempt": attempt.number,
            **costs,
        }
        info = generation.generation_info
        generation.generation_info = {**info, TRACE_KEY: told} if info else {TRACE_KEY: told}
    if aloud:
        message = generation.message
        message.response_metadata = {
            **message.response_metadata,
            KEY: {**_who(call, record), **_how(record, costs)},
        }


def closing_chunk(last: ChatGenerationChunk | None, call: Call, *, whole: bool) -> ChatGenerationChunk:
    """A stream's last chunk, with what is known only now: the attempts and the cost.

    Args:
        last: The inner model's own last chunk, if it marked one; else an empty one is made.
        whole: Tell who served as well, for readers to whom the first chunk did not.
    """
    record = call.record
    told = _how(record, _costs(record))
    if whole:
        told = {**_who(call, record), **told}
    if last is None:
        message = AIMessageChunk(content="", chunk_position="last", response_metadata={KEY: told})
        return ChatGenerationChunk(message=message)
    before = last.message.response_metadata
    mine = before.get(KEY)  # a stream of one chunk was introduced and ends here
    last.message.response_metadata = {**before, KEY: {**mine, **told} if mine else told}
    return last


def _identity(attempt: Attempt) -> dict[str, Any]:
    deployment = attempt.deployment
    return {
        "call_id": attempt.call_id,
        "decision_id": attempt.call_id,
        "deployment": deployment.id,
        "alias": attempt.alias,
        "provider": deployment.provider,
        "model": deployment.model,
        "region": deployment.region,
    }


def _who(call: Call, record: DecisionRecord) -> dict[str, Any]:
    if record.served_by is None:
        told: dict[str, Any] = {
            "call_id": call.id,
            "decision_id": call.id,
            "deployment": None,
            "answered_by": record.denied_by,
        }
        if call.answer is not None and call.answer.usage is not None:
            told["tokens_saved"] = call.answer.usage.total
        return told
    return _identity(record.attempts[-1][0])


def _how(record: DecisionRecord, costs: dict[str, Any]) -> dict[str, Any]:
    attempts = [
        {
            "deployment": attempt.deployment.id,
            "status": outcome.status,
            "cost_usd": outcome.cost / NANO,
            "error_class": outcome.failure.error_class.value if outcome.failure is not None else None,
        }
        for attempt, outcome in record.attempts
    ]
    return {"attempts": attempts, **record.brief(), **costs}


def _costs(record: DecisionRecord) -> dict[str, Any]:
    per_1k = record.cost_per_1k
    return {
        "cost_usd": record.cost / NANO,
        "cost_per_1k_usd": None if per_1k is None else per_1k / NANO,
    }
