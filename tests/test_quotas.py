"""What headers say of a provider's rate limits, in every form that providers use."""

from __future__ import annotations

import time
from typing import Any

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.client_errors import DATE, from_anthropic, from_bedrock, from_openai, provider, through_litellm

from llmgate_plugins.classification import quota_from, quota_of
from llmgate_plugins.limits import Quota

OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
}
OPENAI_QUOTA = Quota(
    limits={"requests": 60, "tokens": 150_000},
    remaining={"requests": 59, "tokens": 149_984},
    resets={"requests": 1.0, "tokens": 360.0},
)
ANTHROPIC = {"date": DATE} | {
    f"anthropic-ratelimit-{kind}-{what}": value
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    for what, value in (("limit", "50"), ("remaining", "7"), ("reset", "2026-10-21T07:28:30Z"))
}
KINDS = ("requests", "tokens", "input_tokens", "output_tokens")
ANTHROPIC_QUOTA = Quota(
    limits=dict.fromkeys(KINDS, 50), remaining=dict.fromkeys(KINDS, 7), resets=dict.fromkeys(KINDS, 30.0)
)
FORMS: list[Any] = [dict, httpx.Headers, httpx2.Headers]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("headers", "quota"), [(OPENAI, OPENAI_QUOTA), (ANTHROPIC, ANTHROPIC_QUOTA)])
def test_the_headers_of_an_answer_are_read_in_both_shapes(form: Any, headers: Any, quota: Quota) -> None:
    assert quota_from(form(headers)) == quota


@pytest.mark.parametrize("form", FORMS[1:])
def test_names_may_be_written_in_any_case(form: Any) -> None:
    assert quota_from(form({name.title(): value for name, value in OPENAI.items()})) == OPENAI_QUOTA
    assert quota_from(form({name.upper(): value for name, value in OPENAI.items()})) is not None


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_says_nothing_of_limits_has_no_quota(form: Any) -> None:
    assert quota_from(form({"date": DATE, "content-type": "application/json"})) is None


def one(reset: str, date: str = DATE) -> float | None:
    headers = {"date": date, "x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": reset}
    quota = quota_from(headers)
    assert quota is not None
    return quota.resets.get("requests")


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("2d", 172_800.0),
        ("12", 12.0),  # Azure, Cerebras: seconds
        ("11.38", 11.38),
        ("2026-10-21T07:28:10Z", 10.0),
        ("2026-10-21T09:28:10+02:00", 10.0),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0),
        ("1792567690", 10.0),  # Unix seconds
        ("1792567690000", 10.0),  # OpenRouter: Unix milliseconds
        ("2026-10-21T07:27:50Z", None),  # past
        ("0", None),
        ("0s", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("9" * 14, 365 * 86_400.0),  # a moment far away: cut
        ("9" * 70, None),
        ("s" * 10_000, None),
        ("1s" * 6, None),
    ],
)
def test_a_reset_is_read_in_every_form_and_garbage_counts_as_not_said(
    reset: str, seconds: float | None
) -> None:
    assert one(reset) == (pytest.approx(seconds) if seconds is not None else None)


def test_an_instant_is_counted_from_the_answers_own_date_alone() -> None:
    assert one("2026-10-21T07:28:10Z", date="") is None
    assert one("2026-10-21T07:28:10Z", date="Wed, 21 Oct 2026 07:28:09 GMT") == 1.0


@pytest.mark.parametrize("count", ["-1", "1.5", "many", "", "²", "٣", "1" * 16, " 1 0"])
def test_a_count_that_is_none_counts_as_not_said(count: str) -> None:
    headers = {"x-ratelimit-remaining-requests": count, "x-ratelimit-limit-requests": "5"}
    assert quota_from(headers) == Quota(limits={"requests": 5})


def test_nothing_left_is_said() -> None:
    assert quota_from({"x-ratelimit-remaining-requests": " 0 "}) == Quota(remaining={"requests": 0})


@pytest.mark.parametrize(
    "error",
    [
        from_openai(429, None, OPENAI),
        provider(429, headers=OPENAI),
        provider(429, headers={name.title(): value for name, value in OPENAI.items()}),
        through_litellm(from_openai(429, {"message": "m"}, OPENAI)),
    ],
    ids=["openai", "ours", "ours in another case", "litellm"],
)
def test_an_error_tells_the_same(error: Exception) -> None:
    assert quota_of(error) == OPENAI_QUOTA


def test_errors_of_others_tell_what_they_know() -> None:
    assert quota_of(from_anthropic(429, {}, ANTHROPIC)) == ANTHROPIC_QUOTA
    assert quota_of(from_bedrock("ThrottlingException", 429)) is None
    assert quota_of(RuntimeError("m")) is None
    openrouter = {
        "X-RateLimit-Limit": "20",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1792567690000",
    }
    quota = quota_of(provider(429, headers={**openrouter, "Date": DATE}))
    assert quota == Quota(limits={"requests": 20}, remaining={"requests": 0}, resets={"requests": 10.0})


class Hostile:
    """Raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __contains__(self, name: object) -> bool:
        raise RuntimeError(name)


NAMES = st.sampled_from([*OPENAI, *ANTHROPIC, "x-ratelimit-remaining", "x-ratelimit-reset"])
VALUES = st.text(max_size=80) | st.from_regex(r"[0-9a-zT:.\-+ ]{0,30}") | st.integers().map(str)


@given(st.dictionaries(NAMES, VALUES | st.none() | st.integers() | st.floats() | st.builds(Hostile)))
def test_no_headers_make_it_raise(headers: dict[str, Any]) -> None:
    begun = time.thread_time()
    for quota in (quota_from(headers), quota_of(provider(429, headers=headers))):
        if quota is not None:
            assert all(0 <= count < 10**15 for count in (*quota.limits.values(), *quota.remaining.values()))
            assert all(0 < wait <= 365 * 86_400 for wait in quota.resets.values())
    assert time.thread_time() - begun < 2.0


def test_what_is_no_headers_at_all_is_no_quota() -> None:
    hostile: Any = Hostile()
    assert quota_from(hostile) is None


def test_headers_of_many_megabytes_are_read_in_no_time() -> None:
    headers = dict.fromkeys(OPENAI, "9" * 1000000)
    begun = time.thread_time()
    assert quota_from(headers) is None
    assert time.thread_time() - begun < 0.5
