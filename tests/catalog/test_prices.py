"""Prices are exact integers, and costs come out to the nano-dollar."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate_plugins.catalog.configured import price_from_config
from llmgate_plugins.catalog.prices import assemble, nanos
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.types import Price, Usage

# USD per million tokens: input, cached, write, output, reasoning
MINI = price_from_config({"input": "0.15", "output": "0.60", "cached_input": "0.075"})
HAIKU = price_from_config(
    {"input": "1", "output": "5", "cached_input": "0.10", "cache_write": "1.25"},
)
THINKER = price_from_config({"input": 2, "output": 8, "reasoning": 12})
TINY = price_from_config({"input": "0.0001", "output": "0.0000000004"})


@pytest.mark.parametrize(
    ("price", "usage", "nano_usd"),
    [
        (MINI, Usage(), 0),
        (MINI, Usage(input=1), 150),  # 0.15 / 10^6 USD = 150 nano
        (MINI, Usage(output=1), 600),
        (MINI, Usage(cached_input=1), 75),
        (MINI, Usage(cache_write=1), 150),  # not named: as input
        (MINI, Usage(reasoning=1), 600),  # not named: as output
        (MINI, Usage(input=1_000_000), 150_000_000),  # 15 cents
        (MINI, Usage(input=200, cached_input=1000, output=200, reasoning=100), 30_000 + 75_000 + 180_000),
        (HAIKU, Usage(input=10, cached_input=5, cache_write=7, output=20), 10_000 + 500 + 8_750 + 100_000),
        (HAIKU, Usage(cache_write=3), 3_750),
        (HAIKU, Usage(input=200_000, output=64_000), 520_000_000),  # 0.20 + 0.32 USD
        (THINKER, Usage(input=1, output=1, reasoning=1), 2_000 + 8_000 + 12_000),
        (THINKER, Usage(reasoning=1_000_000), 12_000_000_000),
        (TINY, Usage(input=1), 1),  # a tenth of a nano-dollar: rounded up
        (TINY, Usage(input=10), 1),
        (TINY, Usage(input=11), 2),
        (TINY, Usage(output=1_000_000), 1),  # 0.4 nano a million: the price itself is rounded up
        (TINY, Usage(input=1, output=1), 1),  # rounded once an attempt, not once a bucket
        (Price(input=1), Usage(input=999_999), 1),
        (Price(input=1), Usage(input=1_000_001), 2),
    ],
)
def test_a_cost_computed_by_hand(price, usage, nano_usd):
    assert price.cost(usage) == nano_usd


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (1.5e-07, 150_000_000),
        (Decimal("1.5e-07"), 150_000_000),
        ("1.5e-07", 150_000_000),
        (6e-07, 600_000_000),
        (1.1e-06, 1_100_000_000),
        (2.8e-07, 280_000_000),
        (0, 0),
        (0.0, 0),
        (1, 10**15),
        (Decimal("1e-16"), 1),  # a tenth of a nano per million
        (Decimal("1.0000000000000001e-06"), 1_000_000_001),
        (Decimal("1e-999999"), 1),
        (Decimal("0e-999999"), 0),
        (-1e-07, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("cheap", None),
        (1.01, None),  # more than a dollar a token
        (Decimal("1e999999"), None),
        ([1], None),
    ],
)
def test_usd_per_token_becomes_whole_nano_dollars_per_million(written, expected):
    assert nanos(written) == expected


@given(st.decimals(min_value=0, max_value=1000, places=9))
def test_every_price_of_nine_decimals_is_kept_exactly(usd):
    assert nanos(usd, per_million=True) == int(usd * 10**9)
    assert nanos(str(usd), per_million=True) == nanos(usd, per_million=True)


@given(st.floats(min_value=0, max_value=1, allow_subnormal=False))
def test_a_float_is_never_rounded_down(usd):
    assert 0 <= nanos(usd) - Fraction(repr(usd)) * 10**15 < 1


COUNTS = st.builds(
    Usage,
    **{bucket: st.integers(0, 10**7) for bucket in ("input", "cached_input", "cache_write", "output")},
    reasoning=st.integers(0, 10**7),
)
RATES = st.integers(0, 10**12)
PRICES = st.builds(Price, input=RATES, cached_input=RATES, cache_write=RATES, output=RATES, reasoning=RATES)


@given(PRICES, COUNTS, COUNTS)
def test_more_tokens_never_cost_less_and_splitting_never_saves(price, some, more):
    buckets = ("input", "cached_input", "cache_write", "output", "reasoning")
    both = Usage(**{bucket: getattr(some, bucket) + getattr(more, bucket) for bucket in buckets})
    assert price.cost(both) >= max(price.cost(some), price.cost(more))
    assert price.cost(both) <= price.cost(some) + price.cost(more) <= price.cost(both) + 1


def test_both_ways_of_writing_a_price_mean_the_same():
    ours = {"input": "0.15", "output": "0.60", "cached_input": 0.075, "cache_write": "0.2", "reasoning": 1}
    litellm = {
        "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08,
        "cache_creation_input_token_cost": 2e-07,
        "output_cost_per_reasoning_token": 1e-06,
        "model": "openai/gpt-4o-mini",
    }
    assert price_from_config(ours) == price_from_config(litellm)
    assert price_from_config(ours).source == "config"


def test_a_side_that_is_not_named_comes_whole_from_the_base():
    base = Price(input=10, cached_input=1, cache_write=12, output=50, reasoning=60)
    price = price_from_config({"input": "0.000000005"}, base=base)
    assert (price.input, price.cached_input, price.cache_write) == (5, 5, 5)
    assert (price.output, price.reasoning) == (50, 60)
    price = price_from_config({"reasoning": "0.00000007"}, base=base)
    assert (price.input, price.output, price.reasoning) == (10, 50, 70)


def test_settings_without_a_price_give_none():
    assert price_from_config({"model": "x", "input_cost_per_token": None}) is None


def test_every_bad_price_is_named_with_its_place_and_a_remedy():
    with pytest.raises(ConfigurationError) as caught:
        price_from_config({"input": "free", "output": -1}, path="prices.gpt")
    assert [problem.path for problem in caught.value.problems] == ["prices.gpt.input", "prices.gpt.output"]
    assert "'free' is not a price" in str(caught.value)
    assert "USD per million tokens" in str(caught.value)


def test_a_tier_takes_what_it_does_not_name_from_the_plain_price_of_its_threshold():
    rates = {
        (0, ""): {"input": 10, "output": 40, "cached_input": 1},
        (200_000, ""): {"input": 20, "output": 60},
        (0, "batch"): {"input": 5, "output": 20},
        (200_000, "batch"): {"input": 8},
    }
    plain = assemble(rates, source="s", as_of="d")
    assert replace(plain, tiers=()) == Price(
        input=10, cached_input=1, cache_write=10, output=40, reasoning=40, source="s", as_of="d"
    )
    told = {
        (tier.above, tier.variant): (tier.price.input, tier.price.cached_input, tier.price.output)
        for tier in plain.tiers
    }
    assert told == {
        (0, "batch"): (5, 1, 20),
        (200_000, ""): (20, 1, 60),
        (200_000, "batch"): (8, 1, 60),
    }


def test_a_price_without_output_is_whole_only_for_models_that_write_nothing():
    assert assemble({(0, ""): {"input": 5}}, source="s", as_of="") is None
    price = assemble({(0, ""): {"input": 5}}, source="s", as_of="", input_only=True)
    assert (price.input, price.output) == (5, 0)
