"""Reads what providers and hosts report as usage.

Each function takes a dict or an object (an SDK's model, read by attribute) and never
raises. It answers None where nothing was reported: no report, no token field in it, or
zeros throughout, since every call reads at least one token. What cannot be true
(negative, not an integer, more than `MOST_TOKENS`, parts larger than their whole) is
clamped, and the usage is marked as estimated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from llmgate_plugins.types import Usage
from llmgate_plugins.usage.charges import CHARGE_KEYS, charge_in
from llmgate_plugins.usage.disjoint import disjoint, sane
from llmgate_plugins.usage.iterations import iterated
from llmgate_plugins.usage.tiers import tier_of

__all__ = ["usage_from_anthropic", "usage_from_langchain", "usage_from_litellm", "usage_from_openai"]

# Every name that any of the functions below reads, for objects that hide their fields.
_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
_DETAILS = (
    *("prompt_tokens_details", "completion_tokens_details"),
    *("input_tokens_details", "output_tokens_details"),
    *("input_token_details", "output_token_details"),
    *("cached_tokens_details", "cache_creation_token_details", "cost_details"),
)
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_CACHED = ("cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens", "cache_read")
_WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens", "cache_creation")
_THOUGHT = ("reasoning_tokens", "thinking_tokens", "reasoning")
_KINDS = ("audio_tokens", "image_tokens", "tool_use_tokens")
_SERVED = ("service_tier", "speed", "inference_geo", "is_byok", *CHARGE_KEYS)
_NAMES: Final = frozenset(
    (*_TOTALS, *_DETAILS, *_LIFETIMES, *_CACHED, *_WRITTEN, *_THOUGHT, *_KINDS, *_SERVED, "iterations")
)
_TIERS: Final = ("priority", "flex", "batch")
"""Tiers that LangChain writes into the names of details."""


def usage_from_openai(report: Any, *, tier: Any = None) -> Usage | None:
    """Usage of OpenAI's chat, embedding and Responses APIs, and of those who imitate them.

    `prompt_tokens` includes cached ones and `completion_tokens` includes reasoning. A
    provider that counts either on top (xAI, Gemini) is told by its `total_tokens`.

    Args:
        tier: The `service_tier` that stands beside the usage in the answer, if one does.
    """
    fields = report if type(report) is dict else _fields(report)
    if fields.get("prompt_tokens") is not None or "input_tokens" not in fields:
        asked, answered = fields.get("prompt_tokens"), fields.get("completion_tokens")
        inner, outer = fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")
    else:
        asked, answered = (
            fields.get("input_tokens"),
            fields.get("output_tokens", fields.get("completion_tokens")),
        )
        inner, outer = fields.get("input_tokens_details"), fields.get("output_tokens_details")
    cached = written = written_1h = reasoning = unasked = audio = image = said = drawn = None
    if inner is not None:
        if type(inner) is not dict:
            inner = _fields(inner)
        cached = inner.get("cached_tokens")
        written = (
            inner.get("cache_write_tokens")
            or inner.get("cache_creation_tokens")
            or inner.get("cache_creation_input_tokens")
        )
        audio, image, unasked = (
            inner.get("audio_tokens"),
            inner.get("image_tokens"),
            inner.get("tool_use_tokens"),
        )
        if audio and (lately := inner.get("cached_tokens_details")):
            audio = sane(audio) - sane(_fields(lately).get("audio_tokens"))
    if not cached:  # DeepSeek, gateways that keep Anthropic's names beside the totals, Moonshot
        cached = (
            fields.get("prompt_cache_hit_tokens")
            or fields.get("cache_read_input_tokens")
            or fields.get("cached_tokens")
        )
    if not written:
        written = fields.get("cache_creation_input_tokens")
    if written and (
        told := (inner or {}).get("cache_creation_token_details") or fields.get("cache_creation")
    ):
        written, written_1h = _by_lifetime(written, told)
    if outer is not None:
        if type(outer) is not dict:
            outer = _fields(outer)
        reasoning, said, drawn = (
            outer.get("reasoning_tokens"),
            outer.get("audio_tokens"),
            outer.get("image_tokens"),
        )
    charges = "cost" in fields or "cost_in_usd_ticks" in fields
    if tier is not None:
        tier = tier_of(tier)
    return disjoint(
        asked,
        answered,
        fields.get("total_tokens"),
        cached=cached,
        written=written,
        written_1h=written_1h,
        reasoning=reasoning,
        kinds=(audio, image, said, drawn) if audio or image or said or drawn else None,
        unasked=unasked,
        tier=tier or "",
        charged=charge_in(fields) if charges else None,
    )


def usage_from_anthropic(report: Any) -> Usage | None:
    """Usage of Anthropic's Messages API: `input_tokens` excludes what the cache read or wrote.

    Of several `iterations` the totals tell only a part: what it took to compact a conversation,
    to ask an adviser or a model that declined stands in none of them.
    """
    fields = report if type(report) is dict else _fields(report)
    usage = _from_anthropic(fields)
    told = fields.get("iterations")
    return iterated(usage, _iterations(told), _tier_in(fields)) if told else usage


def _from_anthropic(fields: Mapping[str, Any]) -> Usage | None:
    """The totals alone."""
    parts = [fields.get("input_tokens") or 0, fields.get("cache_read_input_tokens") or 0]
    written, lifetimes = fields.get("cache_creation_input_tokens"), fields.get("cache_creation")
    parts += _by_lifetime(written, lifetimes) if lifetimes else (written or 0, 0)
    outer = fields.get("output_tokens_details")
    reasoning = None
    if outer is not None:
        reasoning = (outer if type(outer) is dict else _fields(outer)).get("thinking_tokens")
    believed = [sane(part) for part in parts]
    asked = sum(believed)
    usage = disjoint(
        asked,
        fields.get("output_tokens"),
        None,
        cached=believed[1],
        written=believed[2],
        written_1h=believed[3],
        reasoning=reasoning,
        tier=_tier_in(fields),
    )
    if usage is None or (believed == parts and bool not in map(type, parts)):
        return usage
    return replace(usage, estimated=True)


def usage_from_langchain(report: Any, *, metadata: Mapping[str, Any] | None = None) -> Usage | None:
    """`usage_metadata` of a LangChain message: both totals include their details.

    A detail may carry the service tier in its name (`priority_cache_read`), and cache
    writes may be told by lifetime (`ephemeral_1h_input_tokens`).

    Args:
        metadata: The message's `response_metadata`, which may tell the service tier and what
            the provider charges.
    """
    fields = report if type(report) is dict else _fields(report)
    inner, outer = fields.get("input_token_details"), fields.get("output_token_details")
    cached = written = written_1h = reasoning = unasked = audio = image = said = drawn = None
    tier = ""
    if inner:
        if type(inner) is not dict:
            inner = _fields(inner)
        tier = next((name for name in _TIERS if name in inner), "")
        prefix = f"{tier}_" if tier else ""
        cached = inner.get("cache_read") or inner.get(f"{prefix}cache_read")
        written = inner.get("cache_creation") or inner.get(f"{prefix}cache_creation")
        if _LIFETIMES[0] in inner or _LIFETIMES[1] in inner:
            written, written_1h = _by_lifetime(written, inner)
        audio, image, unasked = inner.get("audio"), inner.get("image"), inner.get("tool_use")
    if outer:
        if type(outer) is not dict:
            outer = _fields(outer)
        reasoning, said, drawn = outer.get("reasoning"), outer.get("audio"), outer.get("image")
        if reasoning is None and tier:
            reasoning = outer.get(f"{tier}_reasoning")
    charged = told = None
    if metadata:
        raw = metadata.get("token_usage") or metadata.get("usage")
        if isinstance(raw, Mapping):
            charged, tier = charge_in(raw), tier or _tier_in(raw)
            told = raw.get("iterations")
        tier = tier or tier_of(metadata.get("service_tier"))
    usage = disjoint(
        fields.get("input_tokens"),
        fields.get("output_tokens"),
        fields.get("total_tokens"),
        cached=cached,
        written=written,
        written_1h=written_1h,
        reasoning=reasoning,
        kinds=(audio, image, said, drawn) if audio or image or said or drawn else None,
        unasked=unasked,
        tier=tier,
        charged=charged,
    )
    return iterated(usage, _iterations(told)) if told else usage


def usage_from_litellm(report: Any, *, tier: Any = None) -> Usage | None:
    """LiteLLM's usage: `prompt_tokens` includes cache reads and writes, whatever the provider.

    The cache's share stands in `prompt_tokens_details` or, in Anthropic's words, beside
    the totals. What LiteLLM passes through in Anthropic's or the Responses API's own
    shape is read as such.

    Args:
        tier: The `service_tier` or Gemini's traffic type beside the usage, if there is one.
    """
    fields = report if type(report) is dict else _fields(report)
    if "prompt_tokens" not in fields and (
        "cache_read_input_tokens" in fields or "cache_creation_input_tokens" in fields
    ):
        return usage_from_anthropic(fields)
    usage = usage_from_openai(fields, tier=tier)
    if usage is not None and not usage.tier and (tier := _tier_in(fields)):
        usage = replace(usage, tier=tier)
    told = fields.get("iterations")
    return iterated(usage, _iterations(told)) if told else usage


def _iterations(told: Any) -> Iterator[tuple[Any, Any, Usage | None]]:
    """(kind, model, usage) of each of the requests that Anthropic makes of one."""
    for one in told if isinstance(told, list | tuple) else ():
        fields = one if type(one) is dict else _fields(one)
        yield fields.get("type"), fields.get("model"), _from_anthropic(fields)


def _tier_in(fields: Mapping[str, Any]) -> str:
    """The tier that a usage report names itself, as Anthropic's and Groq's do."""
    told, speed, place = fields.get("service_tier"), fields.get("speed"), fields.get("inference_geo")
    return tier_of(told, speed=speed, place=place) if told or speed or place else ""


def _by_lifetime(written: Any, told: Any) -> tuple[Any, int]:
    """Cache writes kept for minutes, and for an hour; `written` is all of them, or not known."""
    fields = told if type(told) is dict else _fields(told)
    minutes, hour = (sane(fields.get(name) or 0) for name in _LIFETIMES)
    if type(written) is int and written > hour:
        minutes = written - hour
    return minutes, hour


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
