"""Reads the streams of endpoints of other shapes than chat's as they pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from litellm_llmgate.google_shape import of, usage_in
from llmgate_plugins.errors import ProviderError
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.types import Chunk, Message, ToolCall, Usage
from llmgate_plugins.usage import usage_from_anthropic, usage_from_litellm

__all__ = ["EndpointMeter"]

Reading = Iterator[tuple[Chunk, bool]]
"""What a piece of a stream says, and whether anything of the answer is in it."""

_BEGINNINGS: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_WRAPPINGS: Final = frozenset({"response.output_item.added", "response.content_part.added"})
_ENDS: Final = {"response.completed": "stop", "response.incomplete": "length"}
_FAILURES: Final = frozenset({"error", "response.failed"})
_STOPS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "refusal": "content_filter",
    "safety": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "mcp_call"})
_PLAIN_ITEMS: Final = frozenset({"message", "reasoning", None})


class EndpointMeter(ChunkMeter):
    """A meter for one stream that is handed on in the endpoint's own shape.

    Args:
        operation: "responses", "messages", "generate_content" or "text".
        is_kept: Whether LiteLLM's own cache answers, known once there is a piece. That costs nothing.
    """

    __slots__ = ("_is_kept", "_read")

    def __init__(self, operation: str, is_kept: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._is_kept = is_kept
        of_events = _EVENTS.get(operation)
        self._read: Callable[[Any], Reading] = (
            _READINGS[operation] if of_events is None else _Events(of_events).read
        )

    def feed(self, chunk: Any) -> bool:
        """Take note of a piece; whether anything of the answer is in it.

        Raises:
            ProviderError: It says that the answer has failed.
        """
        begun = False
        for told, says in self._read(chunk):
            super().feed(told)
            begun = begun or says
        return begun

    @property
    def complete(self) -> bool:
        """Whether it said why it ended. What was kept is whole."""
        return super().complete or self._is_kept()

    @property
    def usage(self) -> Usage | None:
        """As the provider reported it; nothing for what was kept."""
        return Usage() if self._is_kept() else super().usage

    @property
    def text(self) -> str:
        """The text delivered so far, with the arguments of tool calls, which are billed like it."""
        calls = (
            f"{name}{''.join(self._arguments[index])}" for index, (_, name) in sorted(self._calls.items())
        )
        return "".join([*self._pieces, *calls])

    def message(self) -> Message:
        """All that was delivered, as one message."""
        return replace(super().message(), content="".join(self._pieces))


def _responses(event: Any) -> Reading:
    kind = of(event, "type")
    kind = getattr(kind, "value", kind)
    answer = of(event, "response")
    if kind in _BEGINNINGS:
        yield Chunk(model=of(answer, "model"), id=of(answer, "id")), False
        return
    if kind in _ENDS:
        usage = usage_from_litellm(of(answer, "usage") or {}, tier=of(answer, "service_tier"))
        yield (
            Chunk(usage=usage, finish_reason=_ENDS[kind], model=of(answer, "model"), id=of(answer, "id")),
            True,
        )
        return
    if kind in _FAILURES:
        raise _failure(of(answer, "error") or of(event, "error") or event)
    index = of(event, "output_index") or 0
    if kind in _WRAPPINGS:
        item = of(event, "item")
        what = of(item, "type")
        if what in _CALLS:
            call = ToolCall(
                id=of(item, "call_id") or "", name=of(item, "name") or "", arguments="", index=index
            )
            yield Chunk(tool_calls=(call,)), True
        elif what not in _PLAIN_ITEMS:
            yield Chunk(), True
        return
    delta = of(event, "delta")
    if not isinstance(delta, str) or not str(kind).endswith(".delta"):
        yield Chunk(), True
    elif kind in _TEXTS:
        yield Chunk(text=delta), True
    elif "reasoning" in str(kind):
        yield Chunk(reasoning=delta), True
    else:
        yield Chunk(tool_calls=(ToolCall(id="", name="", arguments=delta, index=index),)), True


def _text(chunk: Any) -> Reading:
    usage = usage_from_litellm(of(chunk, "usage") or {})
    choice = next(iter(of(chunk, "choices") or ()), None)
    text = of(choice, "text") or of(of(choice, "delta"), "content") or ""  # as chat's where it was kept
    reason = of(choice, "finish_reason")
    told = Chunk(text=text, usage=usage, finish_reason=reason, model=of(chunk, "model"), id=of(chunk, "id"))
    yield told, bool(text)


class _Events:
    """Server-sent events, whose lines may be cut anywhere.

    Args:
        of_event: Reads one.
    """

    __slots__ = ("_left", "_of_event")

    def __init__(self, of_event: Callable[[Mapping[str, Any]], Reading]) -> None:
        self._left = b""
        self._of_event = of_event

    def read(self, piece: Any) -> Reading:
        """What the events say that are whole with this piece."""
        if isinstance(piece, Mapping):
            yield from self._of_event(piece)
            return
        *lines, self._left = (self._left + (piece.encode() if isinstance(piece, str) else piece)).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                try:
                    event = json.loads(line[5:])
                except ValueError:
                    continue
                if isinstance(event, Mapping):
                    yield from self._of_event(event)


def _message(event: Mapping[str, Any]) -> Reading:
    kind, index = event.get("type"), event.get("index") or 0
    if kind == "message_start":
        answer = event.get("message")
        usage = usage_from_anthropic(of(answer, "usage") or {})
        yield Chunk(usage=usage, model=of(answer, "model"), id=of(answer, "id")), False
    elif kind == "content_block_start":
        block = event.get("content_block")
        if of(block, "type") == "tool_use":
            call = ToolCall(id=of(block, "id") or "", name=of(block, "name") or "", arguments="", index=index)
            yield Chunk(tool_calls=(call,)), True
    elif kind == "content_block_delta":
        delta = event.get("delta")
        arguments = of(delta, "partial_json")
        calls = (ToolCall(id="", name="", arguments=arguments, index=index),) if arguments else ()
        yield (
            Chunk(text=of(delta, "text") or "", reasoning=of(delta, "thinking") or "", tool_calls=calls),
            True,
        )
    elif kind == "message_delta":
        usage = usage_from_anthropic(event.get("usage") or {})
        reason = of(event.get("delta"), "stop_reason")
        yield Chunk(usage=usage, finish_reason=_STOPS.get(reason, reason)), False
    elif kind == "message_stop":
        yield Chunk(), True
    elif kind == "error":
        raise _failure(event.get("error"))


def _generated(event: Mapping[str, Any]) -> Reading:
    if event.get("error") is not None:
        raise _failure(event["error"])
    candidate = next(iter(event.get("candidates") or ()), None)
    reason = of(candidate, "finishReason")
    told = Chunk(
        usage=usage_in(event),
        finish_reason=None if reason is None else _STOPS.get(str(reason).lower(), "stop"),
        model=event.get("modelVersion"),
        id=event.get("responseId"),
    )
    yield told, reason is not None
    for index, part in enumerate(of(of(candidate, "content"), "parts") or ()):
        asked, text = of(part, "functionCall"), of(part, "text") or ""
        if asked is not None:
            arguments = json.dumps(of(asked, "args") or {})
            call = ToolCall(
                id=of(asked, "id") or "", name=of(asked, "name") or "", arguments=arguments, index=index
            )
            yield Chunk(tool_calls=(call,)), True
        elif of(part, "thought"):
            yield Chunk(reasoning=text), True
        else:
            yield Chunk(text=text), bool(text)


def _failure(told: Any) -> ProviderError:
    """What an event says that tells of a failure; Google's has a status as `code`, and a word as `status`."""
    code, status = of(told, "code") or of(told, "type"), None
    if isinstance(code, int):
        code, status = of(told, "status"), code
    message = of(told, "message") or "the stream says that the answer has failed"
    return ProviderError(str(message), status=status, code=None if code is None else str(code), body=told)


_EVENTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Reading]]] = {
    "generate_content": _generated,
    "messages": _message,
}
_READINGS: Final[Mapping[str, Callable[[Any], Reading]]] = {"responses": _responses, "text": _text}
