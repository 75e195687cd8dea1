"""Usage of every shape becomes disjoint buckets, and nothing in it can raise."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from anthropic.types import Usage as AnthropicUsage
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

from llmgate_plugins.types import BUCKETS, Message, Request, ToolCall, Usage
from llmgate_plugins.usage import (
    ATTACHMENT_TOKENS,
    MOST_TOKENS,
    estimate_tokens,
    estimate_usage,
    usage_from_anthropic,
    usage_from_langchain,
    usage_from_litellm,
    usage_from_openai,
)

READERS = (usage_from_openai, usage_from_anthropic, usage_from_langchain, usage_from_litellm)
COUNT = st.integers(0, 1_000_000)
OPENAI = {
    "prompt_tokens": 1200,
    "completion_tokens": 300,
    "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100},
}
OPENAI_BUCKETS = Usage(input=200, cached_input=1000, output=200, reasoning=100)


def test_openai_counts_the_cache_within_the_prompt_and_reasoning_within_the_completion():
    assert usage_from_openai(OPENAI) == OPENAI_BUCKETS
    assert usage_from_openai(CompletionUsage.model_validate(OPENAI)) == OPENAI_BUCKETS


@pytest.mark.parametrize("details", [{}, {"prompt_tokens_details": None, "completion_tokens_details": None}])
def test_openai_usage_without_details_is_plain_input_and_output(details):
    report = {"prompt_tokens": 7, "completion_tokens": 5} | details
    assert usage_from_openai(report) == Usage(input=7, output=5)


def test_the_responses_api_is_read_like_chat():
    report = {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 59,
    }
    expected = Usage(input=30, cached_input=20, output=5, reasoning=4)
    assert usage_from_openai(report) == expected
    assert usage_from_litellm(report) == expected


def test_reasoning_on_top_of_the_completion_is_told_by_the_total():
    report = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 315,
        "completion_tokens_details": {"reasoning_tokens": 300},
    }
    assert usage_from_openai(report) == Usage(input=10, output=5, reasoning=300)


def test_deepseek_names_its_cache_hits_beside_the_totals():
    report = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 6}
    assert usage_from_openai(report) == Usage(input=4, cached_input=6, output=1)


def test_anthropic_counts_the_cache_beside_the_input():
    report = {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 8},
    }
    expected = Usage(input=10, cached_input=5, cache_write=7, output=12, reasoning=8)
    assert usage_from_anthropic(report) == expected
    assert usage_from_anthropic(AnthropicUsage.model_validate(report)) == expected
    assert usage_from_litellm(report) == expected


def test_anthropic_cache_writes_may_be_told_by_lifetime_only():
    report = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }
    assert usage_from_anthropic(report) == Usage(input=1, cache_write=3, cache_write_1h=4, output=1)


def test_langchain_counts_all_details_within_their_totals():
    report = {
        "input_tokens": 100,
        "output_tokens": 30,
        "total_tokens": 130,
        "input_token_details": {"cache_read": 40, "cache_creation": 10, "audio": 3},
        "output_token_details": {"reasoning": 20},
    }
    assert usage_from_langchain(report) == Usage(
        input=47, cached_input=40, cache_write=10, audio_input=3, output=10, reasoning=20
    )


def test_langchain_details_of_a_service_tier_and_of_a_lifetime_are_read():
    tiered = {
        "input_tokens": 100,
        "output_tokens": 30,
        "total_tokens": 130,
        "input_token_details": {"priority_cache_read": 40, "priority": 60},
        "output_token_details": {"priority_reasoning": 20, "priority": 10},
    }
    assert usage_from_langchain(tiered) == Usage(
        input=60, cached_input=40, output=10, reasoning=20, tier="priority"
    )
    lifetimes = {
        "input_tokens": 100,
        "output_tokens": 1,
        "input_token_details": {"cache_read": 0, "cache_creation": 0, "ephemeral_1h_input_tokens": 30},
    }
    assert usage_from_langchain(lifetimes) == Usage(input=70, cache_write_1h=30, output=1)


def test_litellm_counts_cache_reads_and_writes_within_the_prompt():
    report = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_creation_tokens": 30},
    }
    expected = Usage(input=50, cached_input=20, cache_write=30, output=5)
    assert usage_from_litellm(report) == expected
    del report["prompt_tokens_details"]
    assert usage_from_litellm(report) == expected


def test_objects_of_every_make_are_read():
    class Slotted:
        __slots__ = ("completion_tokens", "prompt_tokens")

        def __init__(self):
            self.prompt_tokens, self.completion_tokens = 3, 4

    class Computed:
        @property
        def prompt_tokens(self):
            return 3

        completion_tokens = 4

    for report in (Slotted(), Computed(), SimpleNamespace(prompt_tokens=3, completion_tokens=4)):
        assert usage_from_openai(report) == Usage(input=3, output=4)
        assert usage_from_litellm(report) == Usage(input=3, output=4)


class Explosive:
    @property
    def prompt_tokens(self):
        raise RuntimeError("boom")

    def __repr__(self):
        return "Explosive()"


@pytest.mark.parametrize(
    "report", [None, {}, [], "usage", 7, {"model": "x"}, Ellipsis, Explosive()], ids=repr
)
@pytest.mark.parametrize("read", READERS)
def test_no_report_is_none_and_not_zero(read, report):
    assert read(report) is None


def test_zeros_throughout_are_no_report():
    assert usage_from_openai({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}) is None
    assert usage_from_anthropic({"input_tokens": 0, "output_tokens": 0}) is None


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        (-5, 3, Usage(output=3, estimated=True)),
        (10**12, 3, Usage(input=MOST_TOKENS, output=3, estimated=True)),
        ("7", 3, Usage(input=7, output=3, estimated=True)),
        (math.nan, 3, Usage(output=3, estimated=True)),
        (math.inf, 3, Usage(output=3, estimated=True)),
        (2.5, 3, Usage(input=2, output=3, estimated=True)),
        ("seven", 3, Usage(output=3, estimated=True)),
        ("9" * 5000, 3, Usage(output=3, estimated=True)),
        ([1], 3, Usage(output=3, estimated=True)),
        (5, -1, Usage(input=5, estimated=True)),
    ],
)
def test_what_cannot_be_true_is_clamped_and_marked(prompt, completion, expected):
    report = {"prompt_tokens": prompt, "completion_tokens": completion}
    assert usage_from_openai(report) == expected
    assert usage_from_litellm(report) == expected
    assert usage_from_langchain({"input_tokens": prompt, "output_tokens": completion}) == expected
    assert usage_from_anthropic({"input_tokens": prompt, "output_tokens": completion}) == expected


PARTS_TOO_LARGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 50},
}


def test_parts_larger_than_a_whole_that_the_total_confirms_are_cut_to_it():
    report = PARTS_TOO_LARGE | {"total_tokens": 15}
    assert usage_from_openai(report) == Usage(cached_input=10, reasoning=5, estimated=True)


def test_parts_larger_than_their_whole_can_only_stand_beside_it():
    beside = Usage(input=10, cached_input=90, cache_write=4, output=5, reasoning=50, estimated=True)
    assert usage_from_openai(PARTS_TOO_LARGE) == beside
    certain = PARTS_TOO_LARGE | {"total_tokens": 10 + 90 + 4 + 5 + 50}
    assert usage_from_openai(certain) == replace(beside, estimated=False)


def test_tokens_of_the_total_that_nobody_explains_are_written_ones_and_in_doubt():
    """Gemini's OpenAI endpoint leaves thoughts out of the completion (mozilla-ai/any-llm#1290)."""
    report = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    assert usage_from_openai(report) == Usage(input=20, output=198, reasoning=405, estimated=True)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({"total_tokens": 70}, Usage(input=70)),
        ({"completion_tokens": 20, "total_tokens": 70}, Usage(input=50, output=20)),
        ({"prompt_tokens": 50, "total_tokens": 70}, Usage(input=50, output=20)),
    ],
)
def test_a_side_that_is_not_told_is_what_the_total_leaves(report, expected):
    assert usage_from_openai(report) == expected


def test_an_absurd_amount_of_reasoning_is_not_believed_because_the_total_agrees():
    huge = 10**12
    report = {
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "total_tokens": 2 + huge,
        "completion_tokens_details": {"reasoning_tokens": huge},
    }
    assert usage_from_openai(report) == Usage(input=1, reasoning=1, estimated=True)


@st.composite
def split_counts(draw):
    """(asked, cached, written, answered, reasoning) that a provider may report."""
    asked, answered = draw(COUNT), draw(COUNT)
    cached = draw(st.integers(0, asked))
    return asked, cached, draw(st.integers(0, asked - cached)), answered, draw(st.integers(0, answered))


@given(split_counts())
def test_buckets_add_up_to_what_was_reported(counts):
    asked, cached, written, answered, reasoning = counts
    inner = {"cached_tokens": cached, "cache_write_tokens": written}
    openai = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "prompt_tokens_details": inner,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    anthropic = {
        "input_tokens": asked - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": answered,
        "output_tokens_details": {"thinking_tokens": reasoning},
    }
    langchain = {
        "input_tokens": asked,
        "output_tokens": answered,
        "total_tokens": asked + answered,
        "input_token_details": {"cache_read": cached, "cache_creation": written},
        "output_token_details": {"reasoning": reasoning},
    }
    told = [
        usage_from_openai(openai),
        usage_from_litellm(openai),
        usage_from_anthropic(anthropic),
        usage_from_langchain(langchain),
    ]
    expected = Usage(
        input=asked - cached - written,
        cached_input=cached,
        cache_write=written,
        output=answered - reasoning,
        reasoning=reasoning,
    )
    assert all(usage == (expected if expected.total else None) for usage in told)


FIELDS = sorted(
    {
        *OPENAI,
        *("input_tokens", "output_tokens", "input_token_details", "output_token_details"),
        *("cached_tokens", "cache_read", "cache_read_input_tokens", "cache_creation_input_tokens"),
        *("cache_creation", "ephemeral_5m_input_tokens", "reasoning", "reasoning_tokens"),
        *("output_tokens_details", "prompt_cache_hit_tokens"),
    }
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=20,
)


@given(JSON)
def test_no_json_makes_a_reader_raise_or_answer_nonsense(report):
    for read in READERS:
        usage = read(report)
        if usage is not None:
            counts = [getattr(usage, bucket) for bucket in BUCKETS]
            assert all(type(count) is int and 0 <= count <= 3 * MOST_TOKENS for count in counts)
            assert usage.total > 0


def test_an_estimate_is_a_quarter_of_the_characters_rounded_up():
    assert [estimate_tokens(n) for n in (-3, 0, 1, 4, 5, 400)] == [0, 0, 1, 1, 2, 100]


def test_the_usage_of_a_cut_answer_is_estimated_from_what_was_sent_and_delivered():
    request = Request(
        model="fast",
        messages=(
            Message(role="user", content="a" * 400),
            Message(
                role="assistant", content="", tool_calls=(ToolCall(id="1", name="look", arguments="b" * 36),)
            ),
            Message(role="user", content=({"type": "text", "text": "c" * 40}, {"type": "image_url"})),
        ),
    )
    usage = estimate_usage(request, 81)
    assert usage == Usage(input=100 + 10 + 10 + ATTACHMENT_TOKENS, output=21, estimated=True)


def test_tool_definitions_and_embedding_inputs_are_part_of_the_estimate():
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 4000}}]
    assert estimate_usage(Request(model="m", params={"tools": tools}), 0).input > 1000
    assert estimate_usage(Request(model="m", params={"input": ["x" * 400] * 2}), 0).input >= 200


def test_every_call_is_estimated_to_have_read_something():
    assert estimate_usage(Request(model="m"), 0) == Usage(input=1, estimated=True)
