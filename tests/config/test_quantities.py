"""Durations and amounts are read as people write them, exactly, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.quantities import SpendingLimit, parse_duration, parse_limit


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (" 2 m ", 120),
        (30, 30),
        (0.25, 0.25),
        ("30", 30),
        ("1m 30s", 90),
    ],
)
def test_a_duration_is_read_in_seconds(written: Any, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "-1s",
        "0",
        0,
        -5,
        "1h30",
        "30 30",
        "30sec",
        True,
        None,
        [],
        "9999999d",
        float("inf"),
        float("nan"),
        10**400,
        "s",
        "1..5s",
        "1e3s",
    ],
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(PydanticCustomError, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "nano", "per"),
    [
        ("50 USD/day", 50 * 10**9, "day"),
        ("0.000000001 USD/hour", 1, "hour"),
        ("$12.50 / week", 12_500_000_000, "week"),
        ("100 usd per month", 100 * 10**9, "month"),
        ("5/day", 5 * 10**9, "day"),
    ],
)
def test_a_spending_limit_is_exact_nano_dollars_per_window(written: str, nano: int, per: Any) -> None:
    assert parse_limit(written) == SpendingLimit(nano_usd=nano, per=per)


@pytest.mark.parametrize(
    "written",
    [
        "50",
        "50 USD",
        "50 EUR/day",
        "50 USD/year",
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


def test_a_limit_is_written_back_as_it_is_read() -> None:
    for text in ("50 USD/day", "0.5 USD/hour", "1200 USD/month"):
        assert str(parse_limit(text)) == text
        assert parse_limit(str(parse_limit(text))) == parse_limit(text)
