"""Prices as a configuration writes them: per bucket, above a threshold, per service tier, with a discount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from llmgate_plugins.catalog.prices import PLAIN, Place, Rates, nanos, place_of, tiered
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.types import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Price
from llmgate_plugins.usage import tier_of

__all__ = ["TIER_KEYS", "is_per_token", "price_from_config"]

TIER_KEYS: Final = frozenset({"above", "tier", "discount", *BUCKETS})
"""What an entry of `tiers` may say."""


def is_per_token(key: str) -> bool:
    """Whether this is LiteLLM's name of a price per token."""
    return place_of(key) is not None


def price_from_config(
    settings: Mapping[str, Any], *, base: Price | None = None, path: str = ""
) -> Price | None:
    """The price that a configuration names, with source "config".

    Two ways of writing are understood: USD per million tokens, bucket by bucket (`{"input":
    "0.15", "output": "0.60", "cached_input": ..., ...}`), with further prices in `tiers`
    (`{"above": 200_000, "input": ...}`, `{"tier": "flex", "input": ...}`, `{"tier": "batch",
    "discount": 0.5}`); and LiteLLM's USD per token (`input_cost_per_token: 1.5e-07`,
    `input_cost_per_token_above_200k_tokens`, ...). Keys that name no price are left alone.

    A side that is not named at all comes from `base`, input or output whole, and costs
    nothing without one. A bucket of a named side that is not named itself costs what
    input, or output, costs there. The tiers of `base` hold only if no plain price is named.

    Returns:
        None if no price is named.

    Raises:
        ConfigurationError: With every price that is none.
    """
    read = _Reading(path)
    read.plain(settings)
    read.tiers(settings.get("tiers") or ())
    if read.problems:
        raise ConfigurationError(problems=read.problems)
    if not read.rates and not read.discounts:
        return None
    plain = read.rates.get(PLAIN, {})
    kept = base.tiers if base is not None and not plain else ()
    if base is not None:
        for side in (INPUT_BUCKETS, OUTPUT_BUCKETS):
            if side[0] not in plain:
                plain = {bucket: getattr(base, bucket) for bucket in side} | plain
    return tiered({**read.rates, PLAIN: plain}, read.discounts, kept, source="config")


class _Reading:
    """Rates as far as they are named, and every mistake."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rates: Rates = {}
        self.discounts: dict[Place, Decimal] = {}
        self.problems: list[Problem] = []

    def plain(self, settings: Mapping[str, Any]) -> None:
        """Prices that stand at the model itself."""
        for key in (*BUCKETS, *(key for key in settings if key not in BUCKETS)):
            if (value := settings.get(key)) is None:
                continue
            if key in BUCKETS:
                self._rate(PLAIN, key, value, key, per_million=True)
            elif (named := place_of(key)) is not None:
                self._rate(named[1], named[0], value, key, per_million=False)

    def tiers(self, entries: Any) -> None:
        """Prices under a condition."""
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            self._problem(f"{entries!r} is not a list", "write [{above: 200000, input: 5}]", "tiers")
            return
        for number, entry in enumerate(entries):
            key = f"tiers[{number}]"
            known = f"known are {', '.join(sorted(TIER_KEYS))}"
            if not isinstance(entry, Mapping):
                self._problem(f"{entry!r} is not a mapping", known, key)
            elif unknown := sorted(set(entry) - TIER_KEYS):
                self._problem(f"unknown key {unknown[0]!r}", known, key)
            else:
                self._tier(entry, key)

    def _tier(self, entry: Mapping[str, Any], key: str) -> None:
        above, word, discount = entry.get("above") or 0, entry.get("tier"), entry.get("discount")
        place = (above, tier_of(word))
        if type(above) is not int or above < 0:
            self._problem(f"{above!r} is not a count of tokens", "write above: 200000", f"{key}.above")
        elif place == PLAIN:
            told = f"{word!r} is how every call is served" if word else "it has no condition"
            self._problem(told, "say above: 200000, or tier: flex, or both", key)
        elif place in self.rates or place in self.discounts:
            self._problem("there is another price for the same condition", "keep one of them", key)
        elif discount is None and not set(entry) & set(BUCKETS):
            self._problem("it names no price", "write input: and output:, or discount: 50%", key)
        else:
            if discount is not None:
                self._discount(place, discount, key)
            for bucket in BUCKETS:
                if (value := entry.get(bucket)) is not None:
                    self._rate(place, bucket, value, f"{key}.{bucket}", per_million=True)

    def _discount(self, place: Place, value: Any, key: str) -> None:
        share = None if isinstance(value, bool) or not isinstance(value, int | float | Decimal) else value
        if share is None or not 0 <= share <= 1:
            self._problem(f"{value!r} is not a discount", "write 50%, or 0.5", f"{key}.discount")
        else:
            self.discounts[place] = Decimal(str(share))

    def _rate(self, place: Place, bucket: str, value: Any, key: str, *, per_million: bool) -> None:
        rate = nanos(value, per_million=per_million)
        if rate is None:
            unit = "million tokens" if per_million else "token"
            remedy = f"write USD per {unit}, such as {'0.15' if per_million else '1.5e-07'}"
            self._problem(f"{value!r} is not a price", remedy, key)
        else:
            self.rates.setdefault(place, {}).setdefault(bucket, rate)

    def _problem(self, message: str, remedy: str, key: str) -> None:
        self.problems.append(Problem(message=message, remedy=remedy, path=f"{self.path}.{key}".lstrip(".")))
