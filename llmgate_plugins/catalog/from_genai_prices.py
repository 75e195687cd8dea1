"""The prices of the `genai-prices` package, as shipped: its own updates over the network are never used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from llmgate_plugins.catalog.card import ModelCard
from llmgate_plugins.catalog.names import NameIndex, canonical_provider
from llmgate_plugins.catalog.prices import Rates, assemble, nanos
from llmgate_plugins.catalog.source import SourceAbsent, Table, version_and_date

__all__ = ["genai_table"]

_BUCKETS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "input_image_mtok": "image_input",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}
_MAKERS = (
    *("openai", "anthropic", "gemini", "mistral", "deepseek", "xai", "cohere", "moonshot", "minimax"),
    *("zai", "voyage", "perplexity", "meta", "amazon_nova"),
)
_NOT_TEXT = {
    "embed": "embedding",
    "rerank": "rerank",
    "whisper": "audio_transcription",
    "transcribe": "audio_transcription",
    "tts": "audio_speech",
    "realtime": "realtime",
    "moderation": "moderation",
    "ocr": "ocr",
}


class _Entry(NamedTuple):
    provider: str
    name: str
    model: Any


def genai_table(providers: list[Any] | None = None) -> Table:
    """A source of the prices that `genai-prices` ships.

    Its tables say neither modes nor capabilities: the mode is told from the name.

    Args:
        providers: Providers as that package describes them; None for its own.
    """
    return Table("genai-prices", lambda: _load(providers), _card)


def _load(providers: list[Any] | None) -> tuple[NameIndex[_Entry], list[_Entry], str]:
    try:
        from genai_prices import data
    except ImportError as error:
        raise SourceAbsent(
            f"genai-prices cannot be imported ({error}); pip install 'llmgate-plugins[prices]'"
        ) from error
    as_of = version_and_date(metadata.version("genai-prices"), Path(data.__file__))
    shipped = data.providers if providers is None else providers
    index: NameIndex[_Entry] = NameIndex()
    entries = []
    for provider in shipped:
        for ours, prefix in _ours(provider.id):
            own = [_Entry(ours, prefix + model.id, model) for model in provider.models]
            _add(index, own, prefix)
            entries += own
    _add_resold(index, shipped)
    for maker in _MAKERS:
        for entry in entries:
            if entry.provider == maker:
                index.add("", entry.name, entry)
    return index, entries, as_of


def _ours(provider_id: str) -> Iterator[tuple[str, str]]:
    """Our names of a provider, each with what goes before its models' names."""
    if provider_id.startswith("huggingface_"):
        yield "huggingface", provider_id.removeprefix("huggingface_") + "/"
    elif provider_id == "google":
        yield from (("gemini", ""), ("vertex_ai", ""))
    else:
        yield canonical_provider(provider_id.replace("github-copilot", "github_copilot")), ""


def _add(index: NameIndex[_Entry], entries: list[_Entry], prefix: str = "") -> None:
    """Ids first, then the names that a model's own rule spells out."""
    for entry in entries:
        index.add(entry.provider, entry.name, entry)
    for entry in entries:
        for name in _spelled(entry.model.match):
            index.add(entry.provider, prefix + name, entry)


def _add_resold(index: NameIndex[_Entry], shipped: list[Any]) -> None:
    """Models that a provider sells at their maker's price, by the package's own word."""
    by_id = {provider.id: provider for provider in shipped}
    for provider in shipped:
        makers = [by_id[name] for name in provider.fallback_model_providers or () if name in by_id]
        for ours, _ in _ours(provider.id):
            for maker in makers:
                _add(index, [_Entry(ours, model.id, model) for model in maker.models])


def _spelled(rule: Any) -> Iterator[str]:
    """The whole names in a rule. Of a rule that needs several things at once there are none."""
    for alternative in getattr(rule, "or_", None) or (rule,):
        for kind in ("equals", "starts_with", "contains", "ends_with"):
            text = getattr(alternative, kind, None)
            if isinstance(text, str) and (name := text.strip("-@./: ")):
                yield name


def _card(entry: _Entry, as_of: str) -> ModelCard:
    rates = _rates(entry.model)
    mode = _mode(entry.name, rates.get((0, ""), {}))
    price = assemble(rates, source="genai-prices", as_of=as_of, input_only=mode not in ("chat", ""))
    return ModelCard(
        key=f"{entry.provider}:{entry.name}",
        provider=entry.provider,
        model=entry.name,
        mode=mode,
        price=price,
        context_window=entry.model.context_window,
        source="genai-prices",
        as_of=as_of,
    )


def _mode(name: str, plain: dict[str, int]) -> str:
    lower = name.lower()
    for mark, mode in _NOT_TEXT.items():
        if mark in lower:
            return mode
    return "chat" if {"input", "output"} <= plain.keys() and "-image" not in lower else ""


def _rates(model: Any) -> Rates:
    now = datetime.now(UTC)
    rates: Rates = {}
    _collect(rates, model.get_prices(now), "")
    for variant in model.price_variants or ():
        if len(variant.when) == 1 and (variant.constraint is None or variant.constraint.active(now)):
            _collect(rates, variant.prices, next(iter(variant.when.values())))
    return rates


def _collect(rates: Rates, prices: Any, variant: str) -> None:
    for field, bucket in _BUCKETS.items():
        price = vars(prices).get(field)
        if price is None:
            continue
        steps = [(0, getattr(price, "base", price))]
        steps += [(tier.start, tier.price) for tier in getattr(price, "tiers", ())]
        for above, usd in steps:
            if (rate := nanos(usd, per_million=True)) is not None:
                rates.setdefault((above, variant), {})[bucket] = rate
