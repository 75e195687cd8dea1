"""LiteLLM's price table, read as data: LiteLLM itself is never imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

from llmgate_plugins.catalog.card import ModelCard
from llmgate_plugins.catalog.names import NameIndex, canonical_provider
from llmgate_plugins.catalog.prices import PER_TOKEN, Rates, assemble, nanos, place_of, surcharged
from llmgate_plugins.catalog.source import SourceAbsent, Table, version_and_date

__all__ = ["REFUSED_VERSIONS", "litellm_table"]

REFUSED_VERSIONS = frozenset({"1.82.7", "1.82.8", "1.107.0"})
"""Releases of LiteLLM that were tampered with or withdrawn. Nothing of them is read."""

_FILE = "model_prices_and_context_window_backup.json"
_NOT_MODELS = frozenset({"sample_spec", "fallback_generalizations"})
_WRITES_TEXT = frozenset({"chat", "completion", "responses", ""})
_INCLUSIVE = frozenset({"xai"})
"""Providers whose price of long inputs begins with the threshold itself, as LiteLLM counts it."""

_SURCHARGES = ("fast", "us")
"""What costs a multiple of everything (Anthropic's fast mode, and inference kept in the US)."""

_SUPPORTS = {
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_tool_choice": "tool_choice",
    "supports_vision": "vision",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_prompt_caching": "prompt_caching",
    "supports_audio_input": "audio_input",
    "supports_audio_output": "audio_output",
    "supports_video_input": "video_input",
    "supports_pdf_input": "pdf_input",
    "supports_web_search": "web_search",
    "supports_computer_use": "computer_use",
    "supports_system_messages": "system_messages",
    "supports_assistant_prefill": "assistant_prefill",
}


class _Entry(NamedTuple):
    key: str
    provider: str
    fields: Mapping[str, Any]


def litellm_table(path: Path | None = None) -> Table:
    """A source of LiteLLM's price table.

    Args:
        path: The table; None for that of the installed LiteLLM, wherever it is.
    """
    return Table("litellm", lambda: _load(path), _card)


def _load(path: Path | None) -> tuple[NameIndex[_Entry], list[_Entry], str]:
    version = "" if path else _installed_version()
    file = path or _installed_file()
    try:
        content = json.loads(file.read_bytes(), parse_float=Decimal, parse_constant=lambda _: None)
        as_of = version_and_date(version, file)
    except (OSError, ValueError) as error:
        raise SourceAbsent(f"{file} cannot be read: {error}; reinstall litellm") from error
    if not isinstance(content, dict):
        raise SourceAbsent(f"{file} is not a table of models; reinstall litellm")
    entries = [
        _Entry(key, canonical_provider(str(fields.get("litellm_provider") or "")), _kept(fields))
        for key, fields in content.items()
        if isinstance(fields, dict) and key not in _NOT_MODELS
    ]
    return _index(entries), entries, as_of


def _installed_version() -> str:
    try:
        version = metadata.version("litellm")
    except metadata.PackageNotFoundError:
        raise SourceAbsent("litellm is not installed; pip install litellm") from None
    if version in REFUSED_VERSIONS:
        raise SourceAbsent(
            f"litellm {version} was tampered with or withdrawn and is not read; install another version"
        )
    return version


def _installed_file() -> Path:
    try:
        spec = util.find_spec("litellm")  # of a top-level name: finds, and executes nothing
    except ValueError:
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / _FILE).is_file():
            return file
    raise SourceAbsent(f"the installed litellm has no {_FILE}; install another version")


def _kept(fields: dict[str, Any]) -> dict[str, Any]:
    """What cards are made of; the rest is a third of the table's memory."""
    return {
        name: value
        for name, value in fields.items()
        if name in _READ or (value is True and name in _SUPPORTS) or place_of(name) is not None
    }


_READ = frozenset(
    {
        "deprecation_date",
        "input_cost_per_token_cache_hit",
        "max_input_tokens",
        "max_output_tokens",
        "max_tokens",
        "mode",
        "provider_specific_entry",
        "tiered_pricing",
    }
)


def _index(entries: list[_Entry]) -> NameIndex[_Entry]:
    """Names with their provider written out first: they are the more specific ones."""
    index: NameIndex[_Entry] = NameIndex()
    for entry in sorted(entries, key=lambda entry: "/" not in entry.key):
        head, slash, rest = entry.key.partition("/")
        named = bool(slash) and canonical_provider(head) == entry.provider
        index.add(entry.provider, rest if named else entry.key, entry)
        if not slash:
            index.add("", entry.key, entry)
    return index


def _card(entry: _Entry, as_of: str) -> ModelCard:
    fields = entry.fields
    mode = str(fields.get("mode") or "")
    price = assemble(
        _rates(fields, inclusive=entry.provider in _INCLUSIVE),
        source="litellm",
        as_of=as_of,
        input_only=mode not in _WRITES_TEXT,
    )
    if price is not None and (factors := _surcharges(fields.get("provider_specific_entry"))):
        price = surcharged(price, factors)
    head, slash, rest = entry.key.partition("/")
    return ModelCard(
        key=entry.key,
        provider=entry.provider,
        model=rest if slash and canonical_provider(head) == entry.provider else entry.key,
        mode=mode,
        price=price,
        context_window=_count(fields.get("max_input_tokens")) or _count(fields.get("max_tokens")),
        max_output=_count(fields.get("max_output_tokens")),
        capabilities=frozenset(word for name, word in _SUPPORTS.items() if name in fields),
        deprecation=_day(fields.get("deprecation_date")),
        source="litellm",
        as_of=as_of,
    )


def _rates(fields: Mapping[str, Any], *, inclusive: bool) -> Rates:
    rates: Rates = {}
    for name, value in fields.items():
        if (place := place_of(name)) is not None and (rate := nanos(value)) is not None:
            bucket, (above, variant) = place
            rates.setdefault((above - (above > 0 and inclusive), variant), {})[bucket] = rate
    if (hit := nanos(fields.get("input_cost_per_token_cache_hit"))) is not None:
        rates.setdefault((0, ""), {}).setdefault("cached_input", hit)
    for step in _steps(fields.get("tiered_pricing")):
        above = _count(step["range"][0]) or 0
        named = {
            bucket: rate for key, bucket in PER_TOKEN.items() if (rate := nanos(step.get(key))) is not None
        }
        rates.setdefault((above, ""), {}).update(named)
    return rates


def _surcharges(factors: Any) -> dict[str, Decimal]:
    told = factors if isinstance(factors, dict) else {}
    return {
        word: Decimal(factor)
        for word in _SURCHARGES
        if isinstance(factor := told.get(word), int | Decimal) and 1 <= factor <= 100
    }


def _steps(value: Any) -> list[dict[str, Any]]:
    """The steps of a `tiered_pricing` that say from where they apply."""
    steps = value if isinstance(value, list) else []
    return [
        step
        for step in steps
        if isinstance(step, dict) and isinstance(step.get("range"), list) and step["range"]
    ]


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | Decimal) and 0 < value < 10**12 else None


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None
