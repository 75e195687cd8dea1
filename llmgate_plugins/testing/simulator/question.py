"""What a provider is asked and what it answers, apart from any wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmgate_plugins.types import EMPTY, Message, ToolCall, Usage

__all__ = ["Answer", "Question", "Reply", "Tool", "count_tokens", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool the model may call; `schema` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request, read from either wire.

    Attributes:
        tool_choice: "auto", "none", "any", or the name of the tool to call.
        schema: The JSON schema the text must conform to, if any.
        json_mode: The text must be a JSON object of any shape.
        thinking: Whether the model should show its reasoning.
        body: The request as it came.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel: bool = True
    schema: Mapping[str, Any] | None = None
    json_mode: bool = False
    thinking: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    body: Mapping[str, Any] = field(default=EMPTY, repr=False)

    @property
    def text(self) -> str:
        """What the user said last."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def prefill(self) -> str:
        """The beginning of the answer, if the conversation ends with an assistant's words."""
        last = self.messages[-1] if self.messages else None
        return last.text if last is not None and last.role == "assistant" and not last.tool_calls else ""

    @property
    def turn(self) -> Sequence[Message]:
        """The messages after the user's last one: calls and results of this turn."""
        last = max((i for i, m in enumerate(self.messages) if m.role == "user"), default=-1)
        return self.messages[last + 1 :]

    @property
    def tokens(self) -> int:
        """How many tokens it has, by this simulator's count."""
        calls = sum(count_tokens(c.name + c.arguments) for m in self.messages for c in m.tool_calls)
        tools = sum(count_tokens(f"{t.name}{t.description}{t.schema}") for t in self.tools)
        return calls + tools + sum(3 + count_tokens(m.text) for m in self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a provider is told to answer.

    Attributes:
        text: The words.
        tool_calls: Tools to call: `ToolCall`, or (name, arguments) pairs.
        reasoning: Thoughts shown before the words.
        refusal: The model declines, in these words.
        usage: Tokens to report; None to have them counted.
        reasoning_tokens, cached_tokens, cache_write_tokens: Parts of the counted
            usage, where `usage` is None.
        finish_reason: "stop", "length", "tool_calls", "content_filter"; None to have it found.
        pieces: How a stream cuts the text; None for word by word.
        model: The model that says it served; None for the one asked for.
    """

    text: str = ""
    tool_calls: Sequence[ToolCall | tuple[str, Mapping[str, Any]]] = ()
    reasoning: str = ""
    refusal: str | None = None
    usage: Usage | None = None
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    finish_reason: str | None = None
    pieces: tuple[str, ...] | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply made ready for a wire: cut at stop sequence and limit, counted, with ids."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    reasoning: str
    refusal: str | None
    usage: Usage
    finish_reason: str
    stop_sequence: str | None
    pieces: tuple[str, ...] | None
    model: str


def count_tokens(text: str) -> int:
    """One token for every four characters begun."""
    return (len(text) + 3) // 4


def finish(question: Question, reply: Reply, calls: tuple[ToolCall, ...]) -> Answer:
    """Apply what the request asked for (stop, max_tokens) to a reply, and count it.

    Args:
        calls: The reply's tool calls, with ids and arguments as JSON text.
    """
    text, stopped = _stop(reply.text, question.stop)
    reason = reply.finish_reason or ("tool_calls" if calls else "stop")
    room = None if question.max_tokens is None else question.max_tokens * 4
    if room is not None and len(text) > room:
        text, stopped, reason = text[:room], None, "length"
    unchanged = text == reply.text
    usage = reply.usage or _count(question, reply, text, calls)
    return Answer(
        text=text,
        tool_calls=calls,
        reasoning=reply.reasoning,
        refusal=reply.refusal,
        usage=usage,
        finish_reason=reason,
        stop_sequence=stopped,
        pieces=reply.pieces if unchanged else None,
        model=reply.model or question.model,
    )


def _stop(text: str, sequences: Sequence[str]) -> tuple[str, str | None]:
    found = [(text.index(stop), stop) for stop in sequences if stop and stop in text]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def _count(question: Question, reply: Reply, text: str, calls: Sequence[ToolCall]) -> Usage:
    asked = question.tokens
    cached = min(reply.cached_tokens, asked)
    written = min(reply.cache_write_tokens, asked - cached)
    said = count_tokens(text + (reply.refusal or ""))
    said += sum(count_tokens(call.name + call.arguments) for call in calls)
    return Usage(
        input=asked - cached - written,
        cached_input=cached,
        cache_write=written,
        output=said,
        reasoning=reply.reasoning_tokens or count_tokens(reply.reasoning),
    )


def add_usage(answers: Sequence[Answer]) -> Usage:
    """The usage of one request with several choices: the prompt counts once."""
    return replace(
        answers[0].usage,
        output=sum(answer.usage.output for answer in answers),
        reasoning=sum(answer.usage.reasoning for answer in answers),
    )
