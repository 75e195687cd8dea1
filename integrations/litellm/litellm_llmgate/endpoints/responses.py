"""The Responses API."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from litellm.types.llms.openai import ResponsesAPIResponse

from litellm_llmgate.endpoints import blocks
from litellm_llmgate.endpoints.endpoint import Reading, failure, of, put
from litellm_llmgate.endpoints.reports import usage_in
from llmgate_plugins.types import Chunk, Message, Response, ToolCall, Usage
from llmgate_plugins.usage import usage_from_litellm

__all__ = ["Responses"]

_BEGINNINGS: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_WRAPPINGS: Final = frozenset({"response.output_item.added", "response.content_part.added"})
_ENDS: Final = {"response.completed": "stop", "response.incomplete": "length"}
_FAILURES: Final = frozenset({"error", "response.failed"})
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "mcp_call"})
_PLAIN_ITEMS: Final = frozenset({"message", "reasoning", None})


class Responses:
    """`/v1/responses`."""

    def usage_in(self, answer: Any) -> Usage | None:
        """What it used, as reported."""
        return usage_in(answer)

    def message_in(self, answer: Any) -> Message:
        """What this answer says."""
        return blocks.message_of(_blocks(answer))

    def changed(self, answer: Any, message: Message) -> Any:
        """A copy that says this instead."""
        answer = copy.deepcopy(answer)
        blocks.rewrite(_blocks(answer), message)
        put(
            answer,
            "output",
            [item for item in of(answer, "output") or () if blocks.is_wanted(item, message)],
        )
        return answer

    def made(self, response: Response, model: str, name: str) -> Any:
        """A plugin's answer in this shape."""
        message, usage = response.message, response.usage or Usage()
        part = {"type": "output_text", "text": message.text, "annotations": []}
        done = {"status": "completed"}
        items: list[dict[str, Any]] = [
            {"type": "message", "id": f"msg_{name}", **done, "role": "assistant", "content": [part]}
        ]
        items += (
            {
                "type": "function_call",
                "id": f"fc_{name}_{call.index}",
                **done,
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in message.tool_calls
        )
        return ResponsesAPIResponse(
            id=f"resp_{name}",
            created_at=int(time.time()),
            model=response.model or model,
            object="response",
            status="completed",
            output=items,
            usage={
                "input_tokens": usage.total_input,
                "output_tokens": usage.total_output,
                "total_tokens": usage.total,
            },
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
            temperature=None,
            top_p=None,
            error=None,
            incomplete_details=None,
            instructions=None,
            metadata={},
        )

    def reader(self) -> Callable[[Any], Reading]:
        """Reads the pieces of a stream."""
        return _read


def _blocks(answer: Any) -> Iterator[Any]:
    for item in of(answer, "output") or ():
        if of(item, "type") == "message":
            yield from of(item, "content") or ()
        else:
            yield item


def _read(event: Any) -> Reading:
    kind = of(event, "type")
    kind = getattr(kind, "value", kind)
    answer = of(event, "response")
    model, name = of(answer, "model"), of(answer, "id")
    if kind in _BEGINNINGS:
        yield Chunk(model=model, id=name), False
    elif kind in _ENDS:
        usage = usage_from_litellm(of(answer, "usage") or {}, tier=of(answer, "service_tier"))
        yield Chunk(usage=usage, finish_reason=_ENDS[kind], model=model, id=name), True
    elif kind in _FAILURES:
        raise failure(of(answer, "error") or of(event, "error") or event)
    elif kind in _WRAPPINGS:
        yield from _wrapped(of(event, "item"), of(event, "output_index") or 0)
    else:
        yield _piece(str(kind), of(event, "delta"), of(event, "output_index") or 0), True


def _wrapped(item: Any, index: int) -> Reading:
    """What begins here."""
    what = of(item, "type")
    if what in _CALLS:
        name = of(item, "name") or ""
        call = ToolCall(id=of(item, "call_id") or "", name=name, arguments="", index=index)
        yield Chunk(tool_calls=(call,)), True
    elif what not in _PLAIN_ITEMS:
        yield Chunk(), True


def _piece(kind: str, delta: Any, index: int) -> Chunk:
    if not isinstance(delta, str) or not kind.endswith(".delta"):
        return Chunk()
    if kind in _TEXTS:
        return Chunk(text=delta)
    if "reasoning" in kind:
        return Chunk(reasoning=delta)
    return Chunk(tool_calls=(ToolCall(id="", name="", arguments=delta, index=index),))
