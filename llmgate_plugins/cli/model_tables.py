"""How models are shown: as a list, source by source, side by side, or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from llmgate_plugins.catalog import Catalog, Comparison, ModelCard
    from llmgate_plugins.types import Price

__all__ = ["print_both", "print_list", "print_side_by_side"]

_LETTERS = {
    "tools": "T",
    "vision": "V",
    "json_schema": "J",
    "reasoning": "R",
    "prompt_caching": "C",
    "pdf_input": "P",
    "audio_input": "A",
    "web_search": "W",
}


_ALWAYS = ("input", "cached_input", "cache_write", "output", "reasoning")
_BUCKETS = {
    "input": "input $/M",
    "cached_input": "cached input",
    "cache_write": "cache write",
    "cache_write_1h": "cache write, 1 h",
    "audio_input": "audio input",
    "image_input": "image input",
    "output": "output $/M",
    "reasoning": "reasoning",
    "audio_output": "audio output",
    "image_output": "image output",
}


def _echo_json(catalog: Catalog, models: Iterable[dict[str, Any]]) -> None:
    sources = [asdict(status) for status in catalog.sources()]
    told = {"unit": "USD per million tokens", "sources": sources, "models": list(models)}
    click.echo(json.dumps(told, indent=1))


def _usd(price: Price | None, bucket: str) -> str:
    """A price, exact, with two decimals at least: "2.50", "0.075"."""
    if price is None:
        return "-"
    text = f"{Decimal(getattr(price, bucket)).scaleb(-9):f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _tokens(count: int | None) -> str:
    if count is None:
        return "-"
    return (
        f"{count / 1e6:.3g}M" if count >= 1_000_000 else f"{count // 1000}k" if count >= 1000 else str(count)
    )


def _prices(price: Price | None) -> dict[str, float] | None:
    from llmgate_plugins.types import BUCKETS, NANO

    if price is None:
        return None
    return {bucket: getattr(price, bucket) / NANO for bucket in BUCKETS}


def _plain(card: ModelCard) -> dict[str, Any]:
    """A card as JSON values."""
    return {
        "model": card.name,
        "provider": card.provider,
        "mode": card.mode,
        "price": _prices(card.price),
        "context_window": card.context_window,
        "max_output": card.max_output,
        "capabilities": sorted(card.capabilities),
        "deprecation": card.deprecation and card.deprecation.isoformat(),
        "tiers": [
            {"above_input_tokens": tier.above, "variant": tier.variant, "price": _prices(tier.price)}
            for tier in card.tiers
        ],
        "key": card.key,
        "source": card.source,
        "price_source": card.price and card.price.source,
        "as_of": card.as_of,
    }


def print_list(catalog: Catalog, shown: Sequence[ModelCard], total: int, as_json: bool) -> None:
    """One line per model."""
    if as_json:
        _echo_json(catalog, map(_plain, shown))
        return
    rows = [
        (
            card.name,
            _usd(card.price, "input"),
            _usd(card.price, "output"),
            _tokens(card.context_window),
            _tokens(card.max_output),
            "".join(letter for word, letter in _LETTERS.items() if word in card.capabilities),
        )
        for card in shown
    ]
    _table(("model", "in $/M", "out $/M", "reads", "writes", "can"), rows)
    click.echo(_count_line(len(shown), total))
    legend = ", ".join(f"{letter}\u00a0{word}" for word, letter in _LETTERS.items())
    click.echo(textwrap.fill(f"can: {legend}", 79, subsequent_indent="     ").replace("\u00a0", " "))
    _echo_sources(catalog)


def print_both(catalog: Catalog, shown: Sequence[ModelCard], total: int, as_json: bool) -> None:
    """One line per model, with its price in every source."""
    told = [catalog.compare(card.provider, card.model) for card in shown]
    if as_json:
        _echo_json(catalog, map(_opinions, told))
        return
    names = [status.name for status in catalog.sources()]
    rows = []
    for one in told:
        cells = []
        for card in one.cards.values():
            price = card.price if card else None
            cells.append(f"{_usd(price, 'input')} / {_usd(price, 'output')}" if price else "-")
        rows.append((one.name, *cells, _difference(one)))
    _table(("model", *(f"{name} in/out" for name in names), "differs"), rows)
    click.echo(_count_line(len(shown), total))
    _echo_sources(catalog)


def _opinions(one: Comparison) -> dict[str, Any]:
    return {
        "model": one.name,
        "sources": {name: card and _plain(card) for name, card in one.cards.items()},
        "difference_percent": {
            bucket: None if percent is None else float(percent) for bucket, percent in one.differences.items()
        },
    }


def _difference(one: Comparison) -> str:
    """ "in +3.57% out -1%"; "same"; "-" where there are not two prices."""
    if not one.differences:
        return "-"
    told = []
    for bucket, label in (("input", "in"), ("output", "out")):
        percent = one.differences[bucket]
        if percent is None or percent:
            told.append(f"{label} " + ("free/not" if percent is None else f"{percent:+.1f}%"))
    return " ".join(told) or "same"


def print_side_by_side(catalog: Catalog, cards: Sequence[ModelCard], as_json: bool) -> None:
    """One column per model."""
    if as_json:
        _echo_json(catalog, map(_plain, cards))
        return
    rows: list[tuple[str, ...]] = [
        (label, *(_usd(card.price, bucket) for card in cards))
        for bucket, label in _BUCKETS.items()
        if bucket in _ALWAYS or any(_is_apart(card.price, bucket) for card in cards)
    ]
    rows.append(("tiers", *(_tiers(card.price) for card in cards)))
    rows.append(("reads", *(_tokens(card.context_window) for card in cards)))
    rows.append(("writes", *(_tokens(card.max_output) for card in cards)))
    rows.append(("retired", *(str(card.deprecation or "-") for card in cards)))
    for word in sorted({word for card in cards for word in card.capabilities}):
        rows += [(word, *("yes" if word in card.capabilities else "-" for card in cards))]
    rows.append(("price from", *(card.price.source if card.price else "-" for card in cards)))
    _table(("", *(card.name.replace("/", "/\n", 1) for card in cards)), rows)
    _echo_sources(catalog)


def _is_apart(price: Price | None, bucket: str) -> bool:
    """Whether this bucket costs something else than its side."""
    return price is not None and getattr(price, bucket) != getattr(
        price, "output" if bucket.endswith("output") else "input"
    )


def _tiers(price: Price | None) -> str:
    """Under which conditions other prices hold: "above 200k, batch, flex"."""
    tiers = price.tiers if price is not None else ()
    told = [f"above {_tokens(tier.above)}" for tier in tiers if not tier.variant]
    told += sorted({tier.variant for tier in tiers if tier.variant})
    return ", ".join(told) or "-"


def _count_line(shown: int, total: int) -> str:
    if not total:
        return "No model fits. Try fewer words, --mode any or another --provider."
    return f"{shown} of {total} models" + ("; --limit shows more" if shown < total else "")


def _echo_sources(catalog: Catalog) -> None:
    for line in catalog.explain().splitlines():
        click.echo(textwrap.fill(f"source {line}", 79, subsequent_indent="       "))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns, the first one wide and to the left, within the terminal's width."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
