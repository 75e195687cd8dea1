"""Prices as sources and configurations write them, made exact integers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from llmgate_plugins.types import BUCKETS, Price, PriceTier

__all__ = ["PER_TOKEN", "Place", "Rates", "assemble", "nanos", "place_of", "surcharged", "tiered"]

PER_TOKEN: Final = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
}
"""LiteLLM's names of prices in USD per token, and the bucket of each."""

Place = tuple[int, str]
"""Where a rate applies: above so many input tokens, served in such a way."""

Rates = dict[Place, dict[str, int]]
"""Place -> bucket -> nano-dollars per million tokens, as far as named."""

PLAIN: Final[Place] = (0, "")

_NAME: Final = re.compile(
    rf"({'|'.join(sorted(PER_TOKEN, reverse=True))})(?:_above_(\d{{1,6}})k_tokens)?(?:_([a-z]+))?"
)
_VARIANTS: Final = {None: "", "batches": "batch"}
_USD_PER_TOKEN: Final = 15  # 10**6 tokens a million, 10**9 nano-dollars a dollar
_USD_PER_MILLION: Final = 9
_EXACT: Final = Context(prec=400, rounding=ROUND_CEILING)
_MOST: Final = 10**15  # one dollar a token: more is a mistake, not a price


def nanos(value: object, *, per_million: bool = False) -> int | None:
    """Nano-dollars per million tokens from USD per token (or per million tokens).

    Exact: a float counts as the decimal it is written as, and what is finer than a
    nano-dollar is rounded up. None for what is no price: negative, not a number, not
    finite, or above one dollar a token.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        exact = value if isinstance(value, Decimal) else Decimal(str(value).strip())
        if not exact.is_finite() or exact < 0 or exact.adjusted() > _USD_PER_TOKEN:
            return None
        if exact.adjusted() < -100:  # next to nothing, and not nothing
            return int(exact > 0)
        scaled = _EXACT.scaleb(exact, _USD_PER_MILLION if per_million else _USD_PER_TOKEN)
        whole = int(scaled.to_integral_value(rounding=ROUND_CEILING))
    except (InvalidOperation, ValueError):
        return None
    return whole if whole <= _MOST else None


@lru_cache(maxsize=1000)
def place_of(name: str) -> tuple[str, Place] | None:
    """The bucket and place of a price by LiteLLM's name of it; None for what is no price of tokens.

    "input_cost_per_token_above_200k_tokens_batches" is input, above 200,000, "batch".
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    key, thousands, variant = match.groups()
    return PER_TOKEN[key], (int(thousands or 0) * 1000, _VARIANTS.get(variant, variant))


def assemble(rates: Rates, *, source: str, as_of: str, input_only: bool = False) -> Price | None:
    """The plain price, with its tiers.

    Args:
        rates: As the source names them.
        source: Goes into each price.
        as_of: Goes into each price.
        input_only: Whether a price without output is whole (embeddings).

    Returns:
        None if the source prices no tokens.
    """
    plain = rates.get(PLAIN, {})
    if "input" not in plain or not ("output" in plain or input_only):
        return None
    return tiered(rates, source=source, as_of=as_of)


def tiered(
    rates: Rates,
    discounts: Mapping[Place, Decimal] | None = None,
    kept: Iterable[PriceTier] = (),
    *,
    source: str,
    as_of: str = "",
) -> Price:
    """A price of these rates.

    A tier takes what it does not name from the plain price of its threshold, and that from
    the price below. Only then are buckets that nobody named filled in, as `Price` says. A
    discount is one on all of them; without a threshold it holds above every one.

    Args:
        discounts: Place -> share that is taken off the plain price there.
        kept: Tiers that hold where `rates` and `discounts` say nothing.
    """
    tiers = {(tier.above, tier.variant): tier.price for tier in kept}
    named_at = {above: _buckets(price) for (above, variant), price in tiers.items() if not variant}
    named_at[0] = rates.get(PLAIN, {})
    thresholds = {above for above, variant in (*rates, *tiers) if not variant}
    shares = {
        (threshold, variant): share
        for (above, variant), share in sorted((discounts or {}).items())
        for threshold in ({above} | (thresholds if not above else set()))
    }
    for place in sorted({*rates, *shares} - {PLAIN}):
        above, variant = place
        lower = named_at[max(threshold for threshold in named_at if threshold <= above)]
        named = lower | _discounted(lower, shares.get(place)) | rates.get(place, {})
        if not variant:
            named_at[above] = named
        elif "cache_write" in rates.get(place, {}) and "cache_write_1h" not in rates[place]:
            named |= _hour(lower, named["cache_write"])
        tiers[place] = _price(named, source, as_of)
    made = [
        PriceTier(above=above, variant=variant, price=tiers[above, variant])
        for above, variant in sorted(tiers)
    ]
    return _price(named_at[0], source, as_of, tuple(made))


def surcharged(price: Price, factors: Mapping[str, Decimal]) -> Price:
    """The price with a further tier for each of its own, so many times as dear.

    Args:
        factors: Word of the surcharge -> factor. It follows the variant's name, by a space.
    """
    tiers = [PriceTier(price=price), *price.tiers]
    for word, factor in factors.items():
        tiers += [
            PriceTier(
                above=tier.above,
                variant=f"{tier.variant} {word}".lstrip(),
                price=_price(
                    {bucket: _times(rate, factor) for bucket, rate in _buckets(tier.price).items()},
                    price.source,
                    price.as_of,
                ),
            )
            for tier in tiers
        ]
    ordered = sorted(tiers[1:], key=lambda tier: (tier.above, tier.variant))
    return _price(_buckets(price), price.source, price.as_of, tuple(ordered))


def _price(named: Mapping[str, int], source: str, as_of: str, tiers: tuple[PriceTier, ...] = ()) -> Price:
    rates: dict[str, Any] = dict(named)
    return Price(**rates, source=source, as_of=as_of, tiers=tiers)


def _buckets(price: Price) -> dict[str, int]:
    return {bucket: getattr(price, bucket) for bucket in BUCKETS}


def _discounted(named: Mapping[str, int], share: Decimal | None) -> dict[str, int]:
    return {} if share is None else {bucket: _times(rate, 1 - share) for bucket, rate in named.items()}


def _hour(plain: Mapping[str, int], written: int) -> dict[str, int]:
    """An hour's cache costs as much more than one for minutes as in a plain call."""
    hour, minutes = plain.get("cache_write_1h"), plain.get("cache_write")
    return {"cache_write_1h": -(-written * hour // minutes)} if hour and minutes else {}


def _times(rate: int, factor: Decimal) -> int:
    return int((rate * factor).to_integral_value(rounding=ROUND_CEILING))
