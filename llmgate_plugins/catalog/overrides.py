"""What a configuration says of models, laid over what the sources say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmgate_plugins.catalog.card import CAPABILITIES, ModelCard
from llmgate_plugins.catalog.configured import is_per_token, price_from_config
from llmgate_plugins.catalog.names import NameIndex, canonical_provider
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.types import BUCKETS

__all__ = ["Overrides", "mistakes"]

_KNOWN = frozenset({*BUCKETS, "tiers", "mode", "context_window", "max_output", "capabilities"})


@dataclass(frozen=True, slots=True)
class _Override:
    name: str
    provider: str
    model: str
    settings: Mapping[str, Any]


class Overrides:
    """Models by `provider/model`, or by a bare name for every provider.

    Args:
        settings: Per model: prices as `price_from_config` reads them, and `mode`,
            `context_window`, `max_output`, `capabilities`.

    Raises:
        ConfigurationError: With every mistake.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self._index: NameIndex[_Override] = NameIndex()
        self._all: list[_Override] = []
        problems: list[Problem] = []
        for name, values in settings.items():
            problems += mistakes(name, values)
            head, slash, rest = name.partition("/")
            override = _Override(name, canonical_provider(head) if slash else "", rest or head, values)
            self._index.add(override.provider, override.model, override)
            self._all.append(override)
        if problems:
            raise ConfigurationError(problems=problems)

    def __bool__(self) -> bool:
        return bool(self._all)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(provider, model) of each; the provider is "" for a bare name."""
        return ((override.provider, override.model) for override in self._all)

    def apply(self, provider: str, model: str, card: ModelCard | None) -> ModelCard | None:
        """The card with what configuration says of it; a card of its own if there was none."""
        override = self._index.find(provider, model) if provider else None
        override = override or self._index.find("", model)
        if override is None:
            return card
        values = override.settings
        known = card or ModelCard(key=override.name, provider=provider or override.provider, model=model)
        price = price_from_config(values, base=known.price)
        return replace(
            known,
            price=price or known.price,
            mode=values.get("mode", known.mode),
            context_window=values.get("context_window", known.context_window),
            max_output=values.get("max_output", known.max_output),
            capabilities=frozenset(values.get("capabilities", known.capabilities)),
            source="config",
            as_of="",
        )


def mistakes(name: str, values: Any) -> list[Problem]:
    """Everything that is wrong with what is said of one model."""
    path = f"prices.{name}"
    if not isinstance(values, Mapping):
        message = f"{values!r} is not a mapping"
        return [Problem(message=message, remedy="write {input: 0.15, output: 0.60}", path=path)]
    problems = [
        Problem(message="unknown key", remedy=f"known are {', '.join(sorted(_KNOWN))}", path=f"{path}.{key}")
        for key in values
        if key not in _KNOWN and not is_per_token(key)
    ]
    if mixed := set(values) & {*BUCKETS, "tiers"} and set(filter(is_per_token, values)):
        message = f"prices per million tokens and per token are mixed ({', '.join(sorted(mixed))})"
        problems.append(Problem(message=message, remedy="write all of them one way", path=path))
    problems += [
        Problem(message=f"{values[key]!r} is not a count of tokens", path=f"{path}.{key}")
        for key in ("context_window", "max_output")
        if key in values and not (type(values[key]) is int and values[key] > 0)
    ]
    for word in set(values.get("capabilities", ())) - CAPABILITIES:
        remedy = f"known are {', '.join(sorted(CAPABILITIES))}"
        problems.append(
            Problem(message=f"unknown capability {word!r}", remedy=remedy, path=f"{path}.capabilities")
        )
    try:
        price_from_config(values, path=path)
    except ConfigurationError as error:
        problems += error.problems
    return problems
