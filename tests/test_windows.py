"""Calendar windows: each moment is in one, also where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgate_plugins.windows import Calendar, CalendarUnit

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "America/Havana",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]
HOUR = 3_600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@given(
    st.sampled_from(get_args(CalendarUnit)),
    st.sampled_from(ZONES),
    st.floats(at("2010-01-01"), at("2035-01-01")),
)
def test_windows_follow_one_another_without_a_gap_and_without_meeting(
    unit: CalendarUnit, zone: str, moment: float
) -> None:
    window = Calendar(unit, zone)
    begin, end = window.bounds(moment)
    assert begin <= moment < end
    assert window.bounds(begin) == window.bounds(end - 0.001) == (begin, end)
    assert window.bounds(end)[0] == end
    assert window.bounds(begin - 0.001)[1] == begin


@pytest.mark.parametrize(
    ("change", "hours"),
    [
        ("2026-04-04T15:00", [1.0, 0.5, 1.0]),  # back by half an hour: from half past one to two comes twice
        ("2026-10-03T15:30", [1.0, 0.5, 1.0]),  # ahead by half an hour: two o'clock is half past
    ],
)
def test_an_hour_that_a_change_by_half_an_hour_cuts_is_two(change: str, hours: list[float]) -> None:
    window, moment = Calendar("hour", "Australia/Lord_Howe"), at(change)
    bounds = [window.bounds(moment - 1), window.bounds(moment)]
    bounds.append(window.bounds(bounds[-1][1]))
    assert [(end - begin) / HOUR for begin, end in bounds] == hours
    assert bounds[0][1] == moment


def test_where_clocks_change_by_whole_hours_every_hour_is_one() -> None:
    window = Calendar("hour", "Europe/Berlin")
    for change in ("2026-03-29T01:00", "2026-10-25T01:00"):
        begin = at(change) - 3 * HOUR
        assert [window.bounds(begin + n * HOUR) for n in range(6)] == [
            (begin + n * HOUR, begin + (n + 1) * HOUR) for n in range(6)
        ]
