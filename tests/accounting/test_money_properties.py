"""What holds for every usage report and every price."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate_plugins.money import cost_per_1k
from llmgate_plugins.types import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Iteration, Price, PriceTier, Usage
from llmgate_plugins.usage import (
    tier_of,
    together,
    usage_from_anthropic,
    usage_from_langchain,
    usage_from_litellm,
    usage_from_openai,
)
from llmgate_plugins.usage.iterations import iterated

COUNTS = st.integers(0, 2_000_000)
RATES = st.integers(0, 10**12)
USAGES = st.builds(Usage, **dict.fromkeys(BUCKETS, COUNTS))
PRICES = st.builds(Price, **dict.fromkeys(BUCKETS, RATES))
SIDES = st.tuples(st.lists(COUNTS, min_size=6, max_size=6), st.lists(COUNTS, min_size=4, max_size=4))


def counts(usage: Usage) -> dict[str, int]:
    return {bucket: getattr(usage, bucket) for bucket in BUCKETS}


def as_openai(usage: Usage) -> dict[str, Any]:
    """The report that OpenAI's wire would carry of this usage."""
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.total_output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": usage.cache_write,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            },
            "audio_tokens": usage.audio_input,
            "image_tokens": usage.image_input,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "image_tokens": usage.image_output,
        },
    }


def as_langchain(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.total_input,
        "output_tokens": usage.total_output,
        "total_tokens": usage.total,
        "input_token_details": {
            "cache_read": usage.cached_input,
            "cache_creation": 0,
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
            "audio": usage.audio_input,
            "image": usage.image_input,
        },
        "output_token_details": {
            "reasoning": usage.reasoning,
            "audio": usage.audio_output,
            "image": usage.image_output,
        },
    }


@given(USAGES)
def test_every_reader_finds_the_buckets_that_a_report_was_made_of(usage: Usage) -> None:
    expected = usage if usage.total else None
    assert usage_from_openai(as_openai(usage)) == expected
    assert usage_from_litellm(as_openai(usage)) == expected
    assert usage_from_langchain(as_langchain(usage)) == expected


@given(USAGES)
def test_parts_beside_the_totals_are_found_by_the_sum_of_all(usage: Usage) -> None:
    """As xAI counts reasoning, and as a proxy of Anthropic's counts the cache."""
    usage = replace(usage, cache_write_1h=0, audio_input=0, image_input=0, audio_output=0, image_output=0)
    beside = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input,
            "cache_write_tokens": usage.cache_write,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    found = usage_from_openai(beside)
    assert found is None if not usage.total else found is not None and found.total == usage.total
    if usage.input and usage.output and found is not None and not found.estimated:
        assert found.total_input + found.total_output == usage.total


ANYTHING = st.none() | st.integers(-(10**13), 10**13) | st.floats() | st.text(max_size=8) | st.booleans()
IN_DETAILS = (
    *("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"),
    *("tool_use_tokens", "cache_read", "cache_creation", "audio", "image", "reasoning", "tool_use"),
    "ephemeral_1h_input_tokens",
)
TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens")
BESIDE = ("cache_read_input_tokens", "cache_creation_input_tokens", "cost", "service_tier")
DETAILED = (
    *("prompt_tokens_details", "completion_tokens_details", "input_token_details"),
    *("output_token_details", "output_tokens_details"),
)
DETAILS = st.dictionaries(st.sampled_from(IN_DETAILS), ANYTHING) | ANYTHING
REPORTS = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys((*TOTALS, *BESIDE), ANYTHING), **dict.fromkeys(DETAILED, DETAILS)}
)


@given(REPORTS)
def test_whatever_is_reported_becomes_disjoint_buckets_that_add_up(report: dict[str, Any]) -> None:
    for read in (usage_from_openai, usage_from_anthropic, usage_from_langchain, usage_from_litellm):
        usage = read(report)
        if usage is None:
            continue
        assert all(type(count) is int and count >= 0 for count in counts(usage).values())
        assert usage.total == sum(counts(usage).values()) > 0
        assert usage.total == usage.total_input + usage.total_output
        asked, answered, total = (report.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
        told = [asked, answered, total]
        if read is usage_from_openai and all(type(one) is int and 0 < one < 10**7 for one in told):
            assert usage.estimated or usage.total >= asked + answered
            if total == asked + answered:
                assert (usage.total_input, usage.total_output) == (asked, answered)


@given(PRICES, USAGES)
def test_a_cost_is_exact_but_for_less_than_a_nano_dollar(price: Price, usage: Usage) -> None:
    exact = sum(Fraction(getattr(usage, bucket) * getattr(price, bucket), 10**6) for bucket in BUCKETS)
    assert 0 <= price.cost(usage) - exact < 1


@given(PRICES, USAGES, USAGES)
def test_more_tokens_never_cost_less_and_splitting_never_saves(
    price: Price, some: Usage, more: Usage
) -> None:
    both = Usage(**{bucket: getattr(some, bucket) + getattr(more, bucket) for bucket in BUCKETS})
    assert price.cost(both) >= max(price.cost(some), price.cost(more))
    assert price.cost(both) <= price.cost(some) + price.cost(more) <= price.cost(both) + 1


@given(USAGES, st.integers(1, 10**12), st.integers(1, 10**12), st.data())
def test_no_bucket_of_a_price_that_names_input_and_output_is_free(
    usage: Usage, read: int, written: int, data: Any
) -> None:
    """Whatever else the price names, and however small the usage."""
    others = [bucket for bucket in BUCKETS if bucket not in ("input", "output")]
    named = data.draw(st.dictionaries(st.sampled_from(others), st.integers(1, 10**12)))
    price = Price(input=read, output=written, **named)
    assert all(getattr(price, bucket) > 0 for bucket in BUCKETS)
    assert (price.cost(usage) > 0) is (usage.total > 0)
    assert Price(input=read, output=written).cost(usage) == -(
        -(usage.total_input * read + usage.total_output * written) // 1_000_000
    )


def test_a_bucket_that_is_free_on_purpose_stays_free() -> None:
    price = Price(input=10**9, cached_input=0, output=2 * 10**9, reasoning=0)
    assert price.cost(Usage(cached_input=1_000, reasoning=1_000)) == 0
    assert replace(price, source="x").cached_input == 0


def test_an_hours_cache_costs_at_least_what_one_for_minutes_costs() -> None:
    assert Price(input=4, cache_write=5).cache_write_1h == 5
    assert Price(input=4).cache_write_1h == 4


def test_a_price_cannot_be_negative() -> None:
    for bucket in BUCKETS:
        with pytest.raises(ValueError, match=f"cannot be negative: {bucket}"):
            Price(**{bucket: -5})


TIERS = st.lists(
    st.builds(
        PriceTier, above=st.integers(0, 10**6), variant=st.sampled_from(["", "flex", "batch"]), price=PRICES
    ),
    max_size=5,
    unique_by=lambda tier: (tier.above, tier.variant),
).map(lambda tiers: tuple(sorted(tiers, key=lambda tier: (tier.above, tier.variant))))


@given(PRICES, TIERS, st.integers(0, 2 * 10**6), st.sampled_from(["", "flex", "batch", "unheard-of"]))
def test_one_price_holds_for_a_whole_call(price: Price, tiers: Any, tokens: int, variant: str) -> None:
    tiers = tuple(tier for tier in tiers if tier.above or tier.variant)
    tiered = replace(price, tiers=tiers)
    fits = [one for one in tiers if one.variant in ("", variant) and tokens >= one.above + (one.above > 0)]
    assert tiered.at(tokens, variant) == (fits[-1].price if fits else tiered)
    assert tiered.at(tokens, "unheard-of") == tiered.at(tokens)


@given(PRICES, TIERS, USAGES)
def test_a_worst_case_of_text_covers_every_way_it_can_be_served(
    price: Price, tiers: Any, usage: Usage
) -> None:
    text = Usage(
        input=usage.input,
        cached_input=usage.cached_input,
        cache_write=usage.cache_write,
        output=usage.output,
        reasoning=usage.reasoning,
    )
    tiered = replace(price, tiers=tuple(tier for tier in tiers if tier.above or tier.variant))
    for variant in ("", "flex", "flex batch"):
        worst = tiered.worst(text.total_input, text.total_output, variant)
        for word in ("", *variant.split(), variant):
            assert worst >= tiered.at(text.total_input, word).cost(text)


def test_several_ways_of_being_served_at_once_are_as_many_times_as_dear_as_each_of_them() -> None:
    plain = Price(
        input=3_000,
        cached_input=0,
        output=10,
        tiers=(
            PriceTier(variant="priority", price=Price(input=6_000, cached_input=50, output=25)),
            PriceTier(variant="us", price=Price(input=3_300, cached_input=0, output=11)),
        ),
    )
    both = plain.at(1, "priority us")
    assert (both.input, both.cached_input, both.output) == (6_600, 50, 28), "rounded up"
    assert plain.at(1, "unheard-of us").input == plain.at(1, "us").input
    assert [plain.has(word) for word in ("", "us", "priority us", "unheard-of")] == [True, True, False, False]


@given(PRICES, st.lists(USAGES, min_size=2, max_size=4))
def test_what_is_told_in_parts_is_their_sum_and_costs_what_they_cost(
    price: Price, parts: list[Usage]
) -> None:
    whole = iterated(parts[-1], [("message", None, part) for part in parts])
    assert whole is not None
    assert counts(whole) == {
        bucket: sum(getattr(one.usage, bucket) for one in whole.iterations) for bucket in BUCKETS
    }
    costs = sum(price.cost(one.usage) for one in whole.iterations)
    assert costs - len(whole.iterations) < price.cost(whole) <= costs


@given(st.permutations([Usage(input=9, tier="us"), Usage(input=9, output=5), Usage(input=8, output=4)]))
def test_how_a_stream_was_served_is_told_by_any_of_its_reports(reports: list[Usage]) -> None:
    parts = (Iteration(Usage(input=4, output=2)), Iteration(Usage(input=5, output=3)))
    found: Usage | None = None
    for report in (*reports, Usage(input=9, output=5, iterations=parts)):
        found = together(found, report)
    assert found is not None
    assert (found.tier, found.iterations) == ("us", parts)


@given(st.lists(USAGES, min_size=1, max_size=5))
def test_reports_of_one_stream_never_add_up_beyond_the_largest(reports: list[Usage]) -> None:
    found: Usage | None = None
    for report in reports:
        found = together(found, report)
        assert together(found, report) == found, "a report that is sent twice changes nothing"
    assert found is not None
    assert found.total_input == max(report.total_input for report in reports)
    assert found.total_output == max(report.total_output for report in reports)


@given(USAGES, st.integers(0, 10**15))
def test_cost_per_thousand_tokens_is_rounded_up(usage: Usage, cost: int) -> None:
    per_1k = cost_per_1k(cost, usage)
    if not usage.total:
        assert per_1k is None
    else:
        assert per_1k is not None
        assert 0 <= per_1k - Fraction(cost * 1_000, usage.total) < 1


@given(ANYTHING, ANYTHING, ANYTHING)
def test_a_tier_is_always_a_word(told: Any, speed: Any, place: Any) -> None:
    tier = tier_of(told, speed=speed, place=place)
    assert isinstance(tier, str)
    assert len(tier) <= 50


def test_the_buckets_are_those_of_both_sides_and_fields_of_both_classes() -> None:
    assert BUCKETS == INPUT_BUCKETS + OUTPUT_BUCKETS
    for kind in (Usage, Price):
        assert set(BUCKETS) <= {one.name for one in fields(kind)}
