"""Turns what providers and hosts report as usage into disjoint token buckets.

Each function takes a dict or an object (an SDK's model, read by attribute) and never
raises. It answers None where nothing was reported: no report, no token field in it, or
zeros throughout, since every call reads at least one token. What cannot be true
(negative, not an integer, more than `MOST_TOKENS`, parts larger than their whole) is
clamped, and the usage is marked as estimated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmgate_plugins.types import Request, Usage

__all__ = [
    "ATTACHMENT_TOKENS",
    "MOST_TOKENS",
    "estimate_tokens",
    "estimate_usage",
    "usage_from_anthropic",
    "usage_from_langchain",
    "usage_from_litellm",
    "usage_from_openai",
]

MOST_TOKENS = 10_000_000
"""The most tokens that one attempt is believed to have read, or written: the largest
context window on sale. A report of more is clamped to it."""

ATTACHMENT_TOKENS = 1_000
"""What an image, a sound or a file in a message is estimated at: the order of a large image."""

_CHARACTERS_PER_TOKEN = 4

# Every name that any of the functions below reads, for objects that hide their fields.
_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
_DETAILS = (
    *("prompt_tokens_details", "completion_tokens_details"),
    *("input_tokens_details", "output_tokens_details"),
    *("input_token_details", "output_token_details"),
)
_LIFETIMES = frozenset(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))
_CACHED = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "cache_read")
_WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens", "cache_creation")
_THOUGHT = ("reasoning_tokens", "thinking_tokens", "reasoning")
_NAMES = _LIFETIMES.union(_TOTALS, _DETAILS, _CACHED, _WRITTEN, _THOUGHT)


def usage_from_openai(report: Any) -> Usage | None:
    """Usage of OpenAI's chat, embedding and Responses APIs, and of those who imitate them.

    `prompt_tokens` includes cached ones and `completion_tokens` includes reasoning. A
    provider that counts reasoning on top of `completion_tokens` (xAI) is told by its
    `total_tokens`.
    """
    fields = report if type(report) is dict else _fields(report)
    if "prompt_tokens" in fields:
        asked, answered = fields["prompt_tokens"], fields.get("completion_tokens")
        inner, outer = fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")
    else:
        asked, answered = (
            fields.get("input_tokens"),
            fields.get("output_tokens", fields.get("completion_tokens")),
        )
        inner, outer = fields.get("input_tokens_details"), fields.get("output_tokens_details")
    cached = written = reasoning = None
    if inner is not None:
        if type(inner) is not dict:
            inner = _fields(inner)
        cached = inner.get("cached_tokens")
        written = inner.get("cache_write_tokens") or inner.get("cache_creation_tokens")
    if not cached:  # DeepSeek, and gateways that keep Anthropic's names beside the totals
        cached = fields.get("prompt_cache_hit_tokens") or fields.get("cache_read_input_tokens")
    if not written:
        written = fields.get("cache_creation_input_tokens")
    if outer is not None:
        if type(outer) is not dict:
            outer = _fields(outer)
        reasoning = outer.get("reasoning_tokens")
    return _disjoint(asked, cached, written, answered, reasoning, fields.get("total_tokens"))


def usage_from_anthropic(report: Any) -> Usage | None:
    """Usage of Anthropic's Messages API: `input_tokens` excludes what the cache read or wrote."""
    fields = report if type(report) is dict else _fields(report)
    fresh, cached = fields.get("input_tokens") or 0, fields.get("cache_read_input_tokens") or 0
    written = fields.get("cache_creation_input_tokens")
    if written is None:
        lifetimes = fields.get("cache_creation")
        written = _by_lifetime(lifetimes) if lifetimes else 0
    outer = fields.get("output_tokens_details")
    reasoning = None
    if outer is not None:
        reasoning = (outer if type(outer) is dict else _fields(outer)).get("thinking_tokens")
    answered = fields.get("output_tokens")
    if (
        type(fresh) is int
        and type(cached) is int
        and type(written) is int
        and min(fresh, cached, written) >= 0
    ):
        return _disjoint(fresh + cached + written, cached, written, answered, reasoning, None)
    parts = [_sane(part) for part in (fresh, cached, written)]
    usage = _disjoint(sum(parts), parts[1], parts[2], answered, reasoning, None)
    return replace(usage or Usage(), estimated=True)


def usage_from_langchain(report: Any) -> Usage | None:
    """`usage_metadata` of a LangChain message: both totals include their details.

    A detail may carry the service tier in its name (`priority_cache_read`), and cache
    writes may be told by lifetime (`ephemeral_1h_input_tokens`).
    """
    fields = report if type(report) is dict else _fields(report)
    inner, outer = fields.get("input_token_details"), fields.get("output_token_details")
    cached = written = reasoning = None
    if inner:
        if type(inner) is not dict:
            inner = _fields(inner)
        cached = inner.get("cache_read")
        written = inner.get("cache_creation")
        if not written and not _LIFETIMES.isdisjoint(inner):
            written = _by_lifetime(inner)
        if cached is None:
            cached = _of_tier(inner, "cache_read")
            written = written or _of_tier(inner, "cache_creation")
    if outer:
        if type(outer) is not dict:
            outer = _fields(outer)
        reasoning = outer.get("reasoning")
        if reasoning is None:
            reasoning = _of_tier(outer, "reasoning")
    return _disjoint(
        fields.get("input_tokens"),
        cached,
        written,
        fields.get("output_tokens"),
        reasoning,
        fields.get("total_tokens"),
    )


def usage_from_litellm(report: Any) -> Usage | None:
    """LiteLLM's usage: `prompt_tokens` includes cache reads and writes, whatever the provider.

    The cache's share stands in `prompt_tokens_details` or, in Anthropic's words, beside
    the totals. What LiteLLM passes through in Anthropic's or the Responses API's own
    shape is read as such.
    """
    fields = report if type(report) is dict else _fields(report)
    if "prompt_tokens" not in fields and (
        "cache_read_input_tokens" in fields or "cache_creation_input_tokens" in fields
    ):
        return usage_from_anthropic(fields)
    return usage_from_openai(fields)


def estimate_tokens(text_length: int) -> int:
    """Tokens of a text with this many characters: a quarter of them, rounded up.

    Right within about a fifth for English prose; too few for code, and for Chinese or
    Japanese by up to four times. It reads nothing, loads nothing and takes no time.
    """
    return -(-text_length // _CHARACTERS_PER_TOKEN) if text_length > 0 else 0


def estimate_usage(request: Request, delivered_chars: int) -> Usage:
    """Usage of an attempt whose provider reported none, marked as estimated.

    Counts the text of all messages, tool calls, tool definitions and the response
    format; an attachment counts as `ATTACHMENT_TOKENS`.

    Args:
        request: What was sent.
        delivered_chars: Characters of the answer that arrived; 0 before sending.
    """
    characters = attachments = 0
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            characters += len(content)
        else:
            for part in content:
                text = part.get("text")
                characters += len(text) if isinstance(text, str) else 0
                attachments += not isinstance(text, str)
        for call in message.tool_calls:
            characters += len(call.name) + len(call.arguments)
    for name in ("tools", "functions", "response_format", "input", "prompt"):
        if name in request.params:
            characters += _length(request.params[name])
    read = min(estimate_tokens(characters) + attachments * ATTACHMENT_TOKENS, MOST_TOKENS)
    return Usage(
        input=max(read, 1), output=min(estimate_tokens(delivered_chars), MOST_TOKENS), estimated=True
    )


def _disjoint(
    asked: Any, cached: Any, written: Any, answered: Any, reasoning: Any, total: Any
) -> Usage | None:
    """Buckets from two totals and their parts. The first branch is the usual report."""
    asked, cached, written = asked or 0, cached or 0, written or 0
    answered, reasoning = answered or 0, reasoning or 0
    if (
        type(asked) is int
        and type(cached) is int
        and type(written) is int
        and type(answered) is int
        and type(reasoning) is int
        and cached >= 0
        and written >= 0
        and cached + written <= asked <= MOST_TOKENS
        and 0 <= reasoning <= MOST_TOKENS
        and 0 <= answered <= MOST_TOKENS
    ):
        if reasoning:
            if total == asked + answered + reasoning:  # counted on top, not within
                answered += reasoning
            if reasoning > answered:
                return _clamped(asked, cached, written, answered, reasoning)
        elif not asked and not answered:
            return None
        return Usage(
            input=asked - cached - written,
            cached_input=cached,
            cache_write=written,
            output=answered - reasoning,
            reasoning=reasoning,
        )
    return _clamped(asked, cached, written, answered, reasoning)


def _clamped(asked: Any, cached: Any, written: Any, answered: Any, reasoning: Any) -> Usage:
    whole, out = _sane(asked), _sane(answered)
    read = min(_sane(cached), whole)
    write = min(_sane(written), whole - read)
    thought = min(_sane(reasoning), out)
    return Usage(
        input=whole - read - write,
        cached_input=read,
        cache_write=write,
        output=out - thought,
        reasoning=thought,
        estimated=True,
    )


def _sane(value: Any) -> int:
    """A believable count: what can be read as a whole number, within 0 and `MOST_TOKENS`."""
    if isinstance(value, float | str):
        try:
            value = int(float(value)) if isinstance(value, float) or len(value) <= 20 else 0
        except (ValueError, OverflowError):
            return 0
    return min(max(int(value), 0), MOST_TOKENS) if isinstance(value, int) else 0


def _by_lifetime(cache_creation: Any) -> int:
    """Cache writes that are told by how long they are kept."""
    fields = cache_creation if type(cache_creation) is dict else _fields(cache_creation)
    return sum(_sane(fields.get(name) or 0) for name in _LIFETIMES)


def _of_tier(details: Mapping[str, Any], name: str) -> Any:
    return details.get(f"priority_{name}") or details.get(f"flex_{name}")


def _fields(report: Any) -> Mapping[str, Any]:
    """The fields of an object that is not a plain dict; empty for what has none."""
    try:
        fields: Mapping[str, Any] = report.__dict__
        if extra := getattr(report, "__pydantic_extra__", None):
            fields = {**fields, **extra}
        if not _NAMES.isdisjoint(fields):
            return fields
    except AttributeError:
        pass  # a dict or an object with slots
    if isinstance(report, Mapping):
        return report
    try:
        return {name: getattr(report, name) for name in _NAMES if hasattr(report, name)}
    except Exception:  # noqa: BLE001 - a foreign object's property may raise anything
        return {}


def _length(value: Any, depth: int = 8) -> int:
    """Characters of a JSON-like value, its punctuation included, roughly."""
    if isinstance(value, str):
        return len(value) + 2
    if depth == 0:
        return 0
    if isinstance(value, Mapping):
        return sum(len(str(key)) + 4 + _length(item, depth - 1) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return sum(1 + _length(item, depth - 1) for item in value)
    return 4
