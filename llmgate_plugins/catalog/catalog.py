"""Looks models up: by name, by what they can do, in one source or side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from llmgate_plugins.catalog.card import ModelCard
from llmgate_plugins.catalog.from_genai_prices import genai_table
from llmgate_plugins.catalog.from_litellm import litellm_table
from llmgate_plugins.catalog.names import canonical_provider
from llmgate_plugins.catalog.overrides import Overrides
from llmgate_plugins.catalog.source import Source, SourceStatus
from llmgate_plugins.types import BUCKETS, Deployment, Price

__all__ = ["Catalog", "Comparison"]

_INSTALLED: tuple[Source, ...] = (litellm_table(), genai_table())
"""Shared by all catalogues of a process, so that each table is read once."""

_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One model in every source.

    Attributes:
        name: `provider/model`, as asked for.
        cards: Source -> card, or None where it does not know the model.
        differences: Bucket -> how much dearer the second price is than the first, in
            percent to a hundredth; None if the first is free and the second is not.
            Empty unless two sources name a price.
    """

    name: str
    cards: Mapping[str, ModelCard | None]
    differences: Mapping[str, Decimal | None]


class Catalog:
    """Models, prices, context sizes and capabilities.

    Nothing is read before the first look-up. Thread-safe.

    Args:
        overrides: What configuration says of models (see `Overrides`); it wins.
        sources: Who is asked, in this order; by default LiteLLM's price table, then
            the `genai-prices` package, as far as they are installed. The second is
            opened only for a model, or a price, that the first does not have.

    Raises:
        ConfigurationError: With every mistake in the overrides.
    """

    def __init__(
        self,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        sources: Sequence[Source] | None = None,
    ) -> None:
        self._overrides = Overrides(overrides or {})
        self._sources = _INSTALLED if sources is None else tuple(sources)
        self._cards: dict[tuple[str | None, str, str | None], ModelCard | None] = {}
        self._serving: dict[tuple[str, str, str | None, str | None], ModelCard | None] = {}

    def sources(self) -> tuple[SourceStatus, ...]:
        """Which sources there are, of what date, and why others are not."""
        return tuple(source.status() for source in self._sources)

    def explain(self) -> str:
        """A sentence per source; says clearly when there is none."""
        told = [
            f"{status.name} {status.as_of}: {status.entries:,} models"
            if status.available
            else f"{status.name}: {status.reason}"
            for status in self.sources()
        ]
        if not any(status.available for status in self.sources()):
            told.insert(0, "The catalogue is empty: no model has a price unless configuration names one.")
        return "\n".join(told)

    def providers(self) -> frozenset[str]:
        """Every provider that any source knows."""
        return frozenset().union(*(source.providers() for source in self._sources))

    def lookup(self, provider: str | None, model: str, *, region: str | None = None) -> ModelCard | None:
        """The card of exactly this model.

        Understood are the names that providers, LiteLLM and LangChain use: with or
        without the provider in front, dated snapshots (a snapshot that is not listed
        is its model; a model that is listed by one snapshot only is that snapshot),
        Bedrock's geographic prefixes, routes and ARNs, fine-tuned models.

        Args:
            provider: None if the model's name says it, or for a maker's own model.
            region: A cloud's region, where prices differ by region (Bedrock).

        Returns:
            None for an unknown model: no other model's card is ever given for it.
        """
        asked = (provider, model, region)
        try:
            return self._cards[asked]
        except KeyError:
            card = self._find(provider, model, region)
        if len(self._cards) >= _MOST_REMEMBERED:
            self._cards.clear()
        self._cards[asked] = card
        return card

    def price_of(self, deployment: Deployment, served_model: str | None = None) -> Price | None:
        """What an attempt at this deployment costs, with its tiers (see `Price.at`).

        A price that configuration gave to the deployment always counts. Else the model
        that served does, as far as its provider is known to sell one of that name: a
        snapshot, what a name of one's own stands for (Azure), what a provider fell back to
        by itself. Else the deployment's own.

        Args:
            served_model: The model that served, by the provider's word.

        Returns:
            None if nobody knows a price.
        """
        own = deployment.price
        if own is not None and own.source == "config":
            return own
        card = self._card_of(deployment, served_model)
        if card is None or card.price is None:
            return own
        return card.price

    def all(self, mode: str | None = None) -> Iterator[ModelCard]:
        """Every model once, from the first source that has it, in no particular order.

        Args:
            mode: Only this mode ("chat"); None for all.
        """
        seen: set[tuple[str, str]] = set()
        for card in self._described():
            place = (card.provider, card.model.lower())
            if place in seen:
                continue
            seen.add(place)
            known = self._overrides.apply(card.provider, card.model, card) if self._overrides else card
            if known is not None and (mode is None or known.mode == mode):
                yield known

    def search(
        self,
        query: str = "",
        *,
        providers: Iterable[str] = (),
        mode: str | None = "chat",
        can: Iterable[str] = (),
        min_context: int = 0,
        max_input_price: int | None = None,
    ) -> list[ModelCard]:
        """The models that fit, by name.

        Args:
            query: Words that must all stand in `provider/model`.
            providers: Any of these; none for all.
            mode: None for all.
            can: Capabilities that all must be there.
            min_context: Tokens; models of unknown size do not fit unless it is 0.
            max_input_price: Nano-dollars per million tokens; models without a price
                do not fit unless it is None.
        """
        words = query.lower().split()
        among = {canonical_provider(name) for name in providers}
        needed = frozenset(can)
        found = [
            card
            for card in self.all(mode)
            if (not among or card.provider in among)
            and needed <= card.capabilities
            and (card.context_window or 0) >= min_context
            and (max_input_price is None or (card.price is not None and card.price.input <= max_input_price))
            and all(word in card.name.lower() for word in words)
        ]
        return sorted(found, key=lambda card: card.name.lower())

    def compare(self, provider: str | None, model: str) -> Comparison:
        """What each source says of one model, and by how much their prices differ."""
        cards = {source.name: _ask(source, provider, model, None) for source in self._sources}
        prices = [card.price for card in cards.values() if card is not None and card.price is not None]
        differences = {}
        if len(prices) > 1:
            for bucket in BUCKETS:
                first, second = (getattr(price, bucket) for price in prices[:2])
                differences[bucket] = _percent(first, second)
        return Comparison(
            name=f"{provider}/{model}" if provider else model, cards=cards, differences=differences
        )

    def _find(self, provider: str | None, model: str, region: str | None) -> ModelCard | None:
        card: ModelCard | None = None
        for source in self._sources:
            other = _ask(source, provider, model, region)
            if other is not None:
                card = other if card is None else card
                if other.price is not None:
                    if card is not other:
                        card = replace(card, price=other.price)
                    break
        if not self._overrides:
            return card
        head, slash, rest = model.partition("/")
        if not provider and slash:
            provider, model = head, rest
        return self._overrides.apply(canonical_provider(provider or ""), model, card)

    def _described(self) -> Iterator[ModelCard]:
        """Cards of all sources; of the later ones only what the earlier do not know."""
        for place, source in enumerate(self._sources):
            for card in source.cards():
                if not any(
                    earlier.find(card.provider, card.model) is not None for earlier in self._sources[:place]
                ):
                    yield card
        for provider, model in self._overrides:
            if (configured := self._find(provider or None, model, None)) is not None:
                yield configured

    def _card_of(self, deployment: Deployment, served_model: str | None) -> ModelCard | None:
        provider, region = deployment.provider, deployment.endpoint.options.get("aws_region_name")
        model = deployment.info.get("base_model") or deployment.model
        asked = (provider, model, served_model, region)
        try:
            return self._serving[asked]
        except KeyError:
            own = card = self.lookup(provider, model, region=region)
        if served_model and served_model != model:
            served = self.lookup(provider, served_model, region=region)
            card = own if served is None or served.price is None else served
        if len(self._serving) >= _MOST_REMEMBERED:
            self._serving.clear()
        self._serving[asked] = card
        return card


def _ask(source: Source, provider: str | None, model: str, region: str | None) -> ModelCard | None:
    """Ask one source; a name that says its provider is read both ways."""
    if provider:
        return source.find(canonical_provider(provider), model, region)
    head, slash, rest = model.partition("/")
    card = source.find(canonical_provider(head), rest, region) if slash else None
    return card or source.find("", model, region)


def _percent(first: int, second: int) -> Decimal | None:
    if first == second:
        return Decimal(0)
    if first == 0:
        return None
    return (Decimal(second - first) * 100 / Decimal(first)).quantize(Decimal("0.01"))
