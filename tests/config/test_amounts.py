"""How much in which time: money and counts, exact, and told apart from what is none."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.amounts import (
    CountLimit,
    SpendingLimit,
    parse_count,
    parse_limit,
    window_for,
)
from llmgate_plugins.windows import Calendar, Fixed, Rolling


@pytest.mark.parametrize(
    ("written", "nano", "per"),
    [
        ("50 USD/day", 50 * 10**9, "day"),
        ("0.000000001 USD/hour", 1, "hour"),
        ("$12.50 / week", 12_500_000_000, "week"),
        ("100 usd per month", 100 * 10**9, "month"),
        ("1_000 USD/year", 1_000 * 10**9, "year"),
        ("5/day", 5 * 10**9, "day"),
        ("50 USD", 50 * 10**9, None),
        ("50", 50 * 10**9, None),
    ],
)
def test_a_spending_limit_is_exact_nano_dollars_per_window(written: str, nano: int, per: Any) -> None:
    assert parse_limit(written) == SpendingLimit(nano_usd=nano, per=per)


@pytest.mark.parametrize(
    "written",
    [
        "50 EUR/day",
        "50 USD/minute",
        "50 USD/fortnight",
        "0 USD/day",
        "-5 USD/day",
        "USD/day",
        50,
        None,
        [],
        "",
        "x" * 1000,
        "0.0000000001 USD/day",
        "1e9 USD/day",
    ],
)
def test_what_is_no_spending_limit_is_refused(written: Any) -> None:
    with pytest.raises(PydanticCustomError, match=r"USD|limit"):
        parse_limit(written)


@pytest.mark.parametrize(
    ("written", "number", "per"),
    [
        ("60/minute", 60, "minute"),
        ("100k/day", 100_000, "day"),
        ("1.5M per month", 1_500_000, "month"),
        ("1_000_000/hour", 1_000_000, "hour"),
        ("2B/year", 2_000_000_000, "year"),
        ("5/second", 5, "second"),
        (60, 60, None),
    ],
)
def test_a_count_is_whole_and_per_window(written: Any, number: int, per: Any) -> None:
    assert parse_count(written) == CountLimit(number=number, per=per)


@pytest.mark.parametrize(
    "written",
    ["0/day", "1.5/day", "-1/day", "60/fortnight", "many", "", True, None, 1.5, "1e3/day", "9" * 25],
)
def test_what_is_no_count_is_refused(written: Any) -> None:
    with pytest.raises(PydanticCustomError, match=r"limit|number"):
        parse_count(written)


def test_a_limit_is_written_back_as_it_is_read() -> None:
    for text in ("50 USD/day", "0.5 USD/hour", "1200 USD/month", "5 USD"):
        assert str(parse_limit(text)) == text
    for text in ("60/minute", "100000/day", "7"):
        assert str(parse_count(text)) == text
        assert parse_count(str(parse_count(text))) == parse_count(text)


def test_days_and_longer_follow_the_calendar_of_a_zone_and_minutes_the_clock() -> None:
    assert window_for("month", None, "Europe/Berlin") == Calendar("month", "Europe/Berlin")
    assert window_for("hour", None, "UTC") == Calendar("hour", "UTC")
    assert window_for("minute", None, "Europe/Berlin") == Fixed(60.0)
    assert window_for(None, 86_400.0, "UTC") == Rolling(86_400.0)
    with pytest.raises(ValueError, match="needs a window"):
        window_for(None, None, "UTC")
