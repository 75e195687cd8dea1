"""Which hour, day, week or month a moment is in, as the database counts it."""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Double, column, create_engine, select, text
from sqlalchemy.pool import StaticPool

from llmgate_plugins.insight.books import SqliteBooks
from llmgate_plugins.insight.buckets import TIMES, TimeUnit, bounds_of, counted

ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
]
DAY = 86_400.0
AT = column("at", Double)


def asked(bounds: list[float], moments: list[float]) -> list[int]:
    """The numbers SQLite gives them."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE moments (at DOUBLE)")
        connection.execute(text("INSERT INTO moments VALUES (:at)"), [{"at": at} for at in moments])
        number = SqliteBooks(connection, mapped=False).bucket(AT, bounds)
        return list(connection.execute(select(number).select_from(text("moments"))).scalars())


@settings(deadline=None, max_examples=60)
@given(
    unit=st.sampled_from(TIMES),
    zone=st.sampled_from(ZONES),
    begin=st.floats(1e9, 4e9),
    days=st.floats(0, 90),
    others=st.lists(st.floats(-1e9, 5e9), max_size=20),
)
def test_a_moment_counts_where_it_is(
    unit: TimeUnit, zone: str, begin: float, days: float, others: list[float]
) -> None:
    bounds = bounds_of(unit, zone, begin, begin + days * DAY)
    close = [at for bound in bounds for at in (math.nextafter(bound, -1), bound, math.nextafter(bound, 1e12))]
    moments = [*close, *others]
    assert asked(bounds, moments) == [bisect_right(bounds, at) for at in moments]


@pytest.mark.parametrize(
    ("unit", "years", "short"), [("hour", 8, True), ("day", 3, True), ("month", 30, False)]
)
def test_steps_of_mostly_one_length_are_arithmetic(unit: TimeUnit, years: int, short: bool) -> None:
    begin = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    bounds = bounds_of(unit, "America/New_York", begin, begin + years * 365 * DAY)
    assert (counted(AT, bounds) is not None) == short
    moments = [at for bound in bounds for at in (math.nextafter(bound, -1), bound)]
    assert asked(bounds, moments) == [bisect_right(bounds, at) for at in moments]
