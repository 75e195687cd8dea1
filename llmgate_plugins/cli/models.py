"""`llmgate models`: lists, filters and compares what the catalogue knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from llmgate_plugins.catalog import Catalog, ModelCard

__all__ = ["models"]

_ROWS = 40


@click.command("models")
@click.argument("names", nargs=-1, metavar="[QUERY]...")
@click.option("--provider", "providers", multiple=True, metavar="P", help="Only this provider (repeatable).")
@click.option("--mode", default="chat", show_default=True, help="chat, embedding, ... or any.")
@click.option("--can", "can", multiple=True, metavar="A,B", help="Must be able to: tools, vision, ...")
@click.option("--min-context", type=click.IntRange(min=0), default=0, metavar="N", help="Tokens at least.")
@click.option("--max-input-price", metavar="USD", help="USD per million input tokens at most.")
@click.option("--sort", "order", type=click.Choice(["price", "context", "name"]), default="name")
@click.option("--compare", "side_by_side", is_flag=True, help="Show the named models side by side.")
@click.option("--sources", "both", is_flag=True, help="Show the price in every source.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Rows at most (tables: {_ROWS}, JSON: all).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(
    names: tuple[str, ...],
    providers: tuple[str, ...],
    mode: str,
    can: tuple[str, ...],
    min_context: int,
    max_input_price: str | None,
    order: str,
    side_by_side: bool,
    both: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List models with prices in USD per million tokens.

    QUERY is words that must all stand in provider/model. With --compare, it is the
    models to compare: llmgate models --compare gpt-4o-mini anthropic/claude-haiku-4-5
    """
    from llmgate_plugins.catalog import Catalog
    from llmgate_plugins.cli import model_tables

    catalog = Catalog()
    if not any(status.available for status in catalog.sources()):
        raise click.ClickException(catalog.explain())
    if side_by_side:
        if len(names) < 2:
            raise click.UsageError("--compare needs two models or more")
        model_tables.print_side_by_side(catalog, [_named(catalog, name) for name in names], as_json)
        return
    found = catalog.search(
        " ".join(names),
        providers=_known(providers, catalog.providers(), "--provider"),
        mode=_mode(catalog, mode),
        can=_capabilities(can),
        min_context=min_context,
        max_input_price=_dollars(max_input_price),
    )
    found.sort(key=_ORDERS[order])
    shown = found[: limit or (None if as_json else _ROWS)]
    if both:
        model_tables.print_both(catalog, shown, len(found), as_json)
    else:
        model_tables.print_list(catalog, shown, len(found), as_json)


_ORDERS: dict[str, Any] = {
    "name": lambda card: card.name.lower(),
    "price": lambda card: (card.price is None, card.price and (card.price.input, card.price.output)),
    "context": lambda card: -(card.context_window or 0),
}


def _known(words: Iterable[str], known: Iterable[str], option: str) -> tuple[str, ...]:
    """These words, each of which must be known."""
    from llmgate_plugins.catalog import canonical_provider

    accepted = frozenset(known)
    given = tuple(canonical_provider(word) if option == "--provider" else word for word in words)
    for word in given:
        if word not in accepted:
            close = difflib.get_close_matches(word, accepted, n=3) or sorted(accepted)
            raise click.BadParameter(f"unknown {word!r}; known are {', '.join(close)}", param_hint=option)
    return given


def _capabilities(can: Iterable[str]) -> tuple[str, ...]:
    from llmgate_plugins.catalog import CAPABILITIES

    words = [word.strip() for item in can for word in item.split(",") if word.strip()]
    return _known(words, CAPABILITIES, "--can")


def _mode(catalog: Catalog, mode: str) -> str | None:
    if mode == "any":
        return None
    _known([mode], {card.mode for card in catalog.all() if card.mode} | {"any"}, "--mode")
    return mode


def _dollars(text: str | None) -> int | None:
    """Nano-dollars from what was typed."""
    if text is None:
        return None
    try:
        usd = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal(-1)
    if not usd.is_finite() or not 0 <= usd <= 10**6:
        raise click.BadParameter(
            f"{text!r} is not a price; write USD per million tokens, such as 0.50",
            param_hint="--max-input-price",
        )
    return int(usd.scaleb(9))


def _named(catalog: Catalog, name: str) -> ModelCard:
    card = catalog.lookup(None, name)
    if card is None:
        names = [card.name for card in catalog.all()]
        word = name.rpartition("/")[2].lower()
        close = difflib.get_close_matches(name, names, n=3) or [n for n in names if word in n.lower()][:3]
        hint = f"; did you mean {', '.join(close)}?" if close else "; llmgate models lists what there is"
        raise click.BadParameter(f"no model {name!r}{hint}", param_hint="--compare")
    return card
