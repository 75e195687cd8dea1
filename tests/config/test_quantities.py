"""Durations and amounts are read as people write them, exactly, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from llmgate_plugins.config.quantities import parse_duration


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
