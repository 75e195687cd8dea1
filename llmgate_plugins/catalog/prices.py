"""Prices as sources and configurations write them, made exact integers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Any

from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.types import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Price, PriceTier

__all__ = ["PER_TOKEN", "Rates", "assemble", "nanos", "price_from_config"]

PER_TOKEN = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
}
"""LiteLLM's names of prices in USD per token, and the bucket of each."""

Rates = dict[tuple[int, str], dict[str, int]]
"""(threshold, variant) -> bucket -> nano-dollars per million tokens, as far as named."""

_USD_PER_TOKEN = 15  # 10**6 tokens a million, 10**9 nano-dollars a dollar
_USD_PER_MILLION = 9
_EXACT = Context(prec=400, rounding=ROUND_CEILING)
_MOST = 10**15  # one dollar a token: more is a mistake, not a price


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


def assemble(rates: Rates, *, source: str, as_of: str, input_only: bool = False) -> Price | None:
    """The plain price, with its tiers.

    A tier takes what it does not name from the plain price of its threshold, and that
    from the price below. Only then are buckets that nobody named filled in, as `Price` says.

    Args:
        rates: As the source names them.
        source: Goes into each price.
        as_of: Goes into each price.
        input_only: Whether a price without output is whole (embeddings).

    Returns:
        None if the source prices no tokens.
    """
    plain = rates.get((0, ""), {})
    if "input" not in plain or not ("output" in plain or input_only):
        return None
    tiers = []
    for above, variant in sorted(rates):
        if (above, variant) != (0, ""):
            named: dict[str, int] = {}
            for threshold in sorted({a for a, _ in rates if a <= above}):
                named |= rates.get((threshold, ""), {})
            named |= rates[above, variant]
            tiers.append(
                PriceTier(above=above, variant=variant, price=Price(**named, source=source, as_of=as_of))
            )
    return Price(**plain, source=source, as_of=as_of, tiers=tuple(tiers))


def price_from_config(
    settings: Mapping[str, Any], *, base: Price | None = None, path: str = ""
) -> Price | None:
    """The price that a configuration names, with source "config".

    Two ways of writing are understood: USD per million tokens (`{"input": "0.15",
    "output": "0.60", "cached_input": ..., "cache_write": ..., "reasoning": ...}`) and
    LiteLLM's USD per token (`input_cost_per_token: 1.5e-07`, ...). Keys that name no
    price are left alone.

    A side that is not named at all comes from `base`, input or output whole, and costs
    nothing without one. A bucket of a named side that is not named itself costs what
    input, or output, costs there.

    Returns:
        None if no price is named.

    Raises:
        ConfigurationError: With every price that is none.
    """
    named: dict[str, int] = {}
    problems = []
    for keys, per_million in (({bucket: bucket for bucket in BUCKETS}, True), (PER_TOKEN, False)):
        for key, bucket in keys.items():
            if (value := settings.get(key)) is None:
                continue
            if (rate := nanos(value, per_million=per_million)) is None:
                unit = "million tokens" if per_million else "token"
                message = f"{value!r} is not a price"
                remedy = f"write USD per {unit}, such as {'0.15' if per_million else '1.5e-07'}"
                problems.append(Problem(message=message, remedy=remedy, path=f"{path}.{key}".lstrip(".")))
            else:
                named.setdefault(bucket, rate)
    if problems:
        raise ConfigurationError(problems=problems)
    if not named:
        return None
    for side in (INPUT_BUCKETS, OUTPUT_BUCKETS):
        if base is not None and side[0] not in named:
            named = {bucket: getattr(base, bucket) for bucket in side} | named
    return Price(**named)
