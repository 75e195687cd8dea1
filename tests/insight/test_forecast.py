"""Forecasts: right on average, as sure as they say, and honest where there is little to go by."""

from __future__ import annotations

import json
import math
import random
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.faces import ask
from support.gateways import scene
from support.ledger_rows import Filled, RowsLedger, daily

from llmgate_plugins import Context, use_context
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.insight import Forecast, read_forecast
from llmgate_plugins.insight.pattern import pattern_of
from llmgate_plugins.plugins.limits import Budget, Limits
from llmgate_plugins.types import NANO
from llmgate_plugins.windows import Calendar, Fixed, Rolling


def series(seed: int, days: int) -> list[float]:
    """Trend x weekday x noise, of any size."""
    chance = random.Random(seed)
    level, growth = 10 ** chance.uniform(0, 4), chance.uniform(-0.012, 0.02)
    week = [1.0, 1.05, 1.1, 1.0, 0.95, chance.uniform(0.2, 0.7), chance.uniform(0.2, 0.6)]
    first, noise = chance.randrange(7), chance.uniform(0.05, 0.3)
    return [
        max(level * (1 + growth * day), 0.0) * week[(day + first) % 7] * math.exp(chance.gauss(0, noise))
        for day in range(days)
    ]


def back_test(history: int, ahead: int, seeds: int = 200) -> tuple[float, float]:
    """(median relative error, share of the sums that were within the band)."""
    errors, inside = [], 0
    for seed in range(seeds):
        days = series(seed, history + ahead)
        band = pattern_of(days[:history]).sum([(history + day, 1.0) for day in range(ahead)])
        actual = sum(days[history:])
        errors.append(abs(band.expected - actual) / actual)
        inside += band.low <= actual <= band.high
    return statistics.median(errors), inside / seeds


@pytest.mark.parametrize(
    ("history", "ahead", "most"), [(28, 30, 0.09), (42, 20, 0.07), (56, 30, 0.06), (56, 10, 0.06)]
)
def test_the_band_holds_in_about_four_cases_of_five(history: int, ahead: int, most: float) -> None:
    error, inside = back_test(history, ahead)
    assert 0.70 <= inside <= 0.95
    assert error < most


def test_it_is_better_than_going_on_like_last_week() -> None:
    ours, _ = back_test(56, 30)
    theirs = []
    for seed in range(200):
        days = series(seed, 86)
        theirs.append(abs(sum(days[49:56]) / 7 * 30 - sum(days[56:])) / sum(days[56:]))
    assert ours < 0.6 * statistics.median(theirs)


@pytest.mark.parametrize("history", [3, 7, 13, 14])
def test_a_short_history_makes_a_wide_band(history: int) -> None:
    _, inside = back_test(history, 25)
    assert inside >= 0.8
    long = pattern_of(series(3, 56)).sum([(56 + day, 1.0) for day in range(25)])
    short = pattern_of(series(3, 56)[:history]).sum([(history + day, 1.0) for day in range(25)])
    assert (short.high - short.low) / short.expected > (long.high - long.low) / long.expected


@given(st.lists(st.floats(0, 1e12), max_size=60), st.integers(1, 40))
def test_any_history_gives_a_band_that_makes_sense(costs: list[float], ahead: int) -> None:
    pattern = pattern_of(costs)
    if pattern.method == "none":
        assert len(costs) < 2
        return
    band = pattern.sum([(len(costs) + day, 1.0) for day in range(ahead)])
    assert 0 <= band.low <= band.expected <= band.high < math.inf


def test_weekends_without_spending_stay_without() -> None:
    pattern = pattern_of([100.0 if day % 7 < 5 else 0.0 for day in range(42)])
    assert [round(pattern.day(42 + day)) for day in range(7)] == pytest.approx([100] * 5 + [0] * 2, abs=8)


def test_a_burst_is_not_expected_again() -> None:
    costs = [100.0] * 40
    costs[-3] = 5_000.0
    band = pattern_of(costs).sum([(40 + day, 1.0) for day in range(30)])
    assert 2_900 < band.expected < 3_600


def test_a_job_that_runs_once_a_week_is_no_burst() -> None:
    costs = [1_000.0 if day % 7 == 3 else 100.0 for day in range(42)]
    band = pattern_of(costs).sum([(42 + day, 1.0) for day in range(28)])
    assert band.expected == pytest.approx(4 * 1_000 + 24 * 100, rel=0.07)
    assert band.low <= 6_400 <= band.high


@pytest.mark.parametrize(("history", "least"), [(14, 0.5), (28, 0.8), (56, 0.9)])
def test_bursts_that_come_again_and_again_are_expected_again(history: int, least: float) -> None:
    chance = random.Random(history)
    shares, inside = [], 0
    for _ in range(200):
        days = [
            (1_000.0 if chance.random() < 0.12 else 100.0) * math.exp(chance.gauss(0, 0.15))
            for _ in range(history + 20)
        ]
        band = pattern_of(days[:history]).sum([(history + day, 1.0) for day in range(20)])
        actual = sum(days[history:])
        shares.append(band.expected / actual)
        inside += band.low <= actual <= band.high
    assert least <= statistics.median(shares) <= 1.1
    assert inside >= least * 0.55 * 200


@pytest.mark.parametrize("history", [28, 42, 56])
def test_growth_that_is_no_straight_line_stays_within_the_band(history: int) -> None:
    inside = 0
    for seed in range(200):
        chance = random.Random(seed)
        days = [1.014**day * math.exp(chance.gauss(0, 0.15)) for day in range(history + 20)]  # 10 % a week
        band = pattern_of(days[:history]).sum([(history + day, 1.0) for day in range(20)])
        inside += band.low <= sum(days[history:]) <= band.high
    assert inside >= 0.65 * 200


NOW = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
USD = NANO


def told(
    costs: dict[str, Sequence[int]], *, now: float = NOW, begin: float | None = None, **options: Any
) -> Forecast:
    """A forecast after days that end today."""
    longest = max(map(len, costs.values()), default=0)
    begin = begin if begin is not None else now - longest * 86_400.0
    return read_forecast(daily(costs, begin).as_ledger(), now=now, **options)


def test_what_was_spent_and_what_is_to_come_add_up() -> None:
    forecast = told({"search": [10 * USD] * 40})
    row = forecast.totals
    assert (forecast.month, row.method, row.days, row.note) == ("2026-11", "trend", 40, "")
    assert row.spent == 190 * USD
    assert row.expected == pytest.approx(300 * USD, rel=0.001)
    assert row.low is not None
    assert row.high is not None
    assert row.spent <= row.low <= row.expected <= row.high


def test_each_group_has_its_own_and_the_dearest_comes_first() -> None:
    forecast = told({"mail": [1 * USD] * 30, "search": [5 * USD] * 30}, by="team")
    assert [row.group["team"] for row in forecast] == ["search", "mail"]
    assert sum(row.expected or 0 for row in forecast) == pytest.approx(forecast.totals.expected, rel=0.001)
    assert len(told({"mail": [1 * USD] * 30}, by="team", where={"team": "other"})) == 0


@pytest.mark.parametrize("days", [0, 1])
def test_less_than_two_days_give_no_forecast_and_say_why(days: int) -> None:
    row = told({"search": [USD] * days} if days else {}).totals
    assert (row.method, row.expected, row.low, row.high) == ("none", None, None, None)
    assert row.note == f"no forecast: {days} whole day{'s' if days != 1 else ''} of history, 2 are needed"


def test_less_than_two_weeks_go_on_as_they_are_and_say_so() -> None:
    row = told({"search": [USD] * 9}).totals
    assert (row.method, row.days) == ("run rate", 9)
    assert "short history: 9 whole days" in row.note
    assert row.expected == pytest.approx(20 * USD, rel=0.001)
    assert (row.high or 0) - (row.low or 0) > 2 * USD


def test_days_before_the_first_spending_are_no_history() -> None:
    assert told({"old": [USD] * 50, "new": [0] * 45 + [USD] * 5}, by="team").rows[1].days == 5


def at_hours(hours: dict[int, Sequence[int]]) -> RowsLedger:
    """A dollar at each of these hours of each day."""
    rows = [
        row | {"call_id": f"{day}-{hour}", "at": NOW - (len(hours) - day) * 86_400 + hour * 3_600 + 60}
        for day, some in hours.items()
        for hour in some
        for row in daily({"search": [USD]}, NOW).attempt_rows
    ]
    return RowsLedger(rows, [])


@pytest.mark.parametrize("days", [3, 4, 7, 20])
def test_a_first_day_that_began_late_is_not_taken_for_a_whole_one(days: int) -> None:
    around_the_clock = {day: range(18 if day == 0 else 0, 24) for day in range(days)}
    row = read_forecast(at_hours(around_the_clock).as_ledger(), now=NOW).totals
    assert row.days == days - 1
    assert row.expected == pytest.approx(row.spent + 11 * 24 * USD, rel=0.01)


@pytest.mark.parametrize("hours", [[2], [9, 10, 11], [23]])
def test_a_first_day_that_began_when_days_begin_is_a_whole_one(hours: list[int]) -> None:
    row = read_forecast(at_hours(dict.fromkeys(range(4), hours)).as_ledger(), now=NOW).totals
    assert row.days == 4


def test_a_month_that_has_just_begun_goes_by_the_month_before() -> None:
    begins = datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    row = told({"search": [2 * USD] * 60}, now=begins, begin=begins - 60 * 86_400.0 - 1).totals
    assert row.spent == 0
    assert row.expected == pytest.approx(60 * USD, rel=0.001)


def test_on_the_last_evening_little_is_open() -> None:
    evening = datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp()
    begin = datetime(2026, 10, 1, tzinfo=UTC).timestamp()
    row = told({"search": [2 * USD] * 61}, now=evening, begin=begin).totals
    assert row.spent == 60 * USD
    assert row.expected == pytest.approx(60 * USD, rel=0.001)


def test_days_and_months_are_those_of_the_zone_also_where_clocks_change() -> None:
    zone = ZoneInfo("America/New_York")  # clocks go back on 2026-11-01
    start = datetime(2026, 10, 1, tzinfo=zone)
    rows = []
    for day in range(40):
        noon = (start + timedelta(days=day)).replace(hour=23, minute=30)
        rows += daily({f"{day}": [USD]}, noon.timestamp() - 43_200.0).attempt_rows
    now = datetime(2026, 11, 10, tzinfo=zone).timestamp()
    ledger = RowsLedger(rows, []).as_ledger()
    here = read_forecast(ledger, zone="America/New_York", now=now)
    assert (here.totals.spent, here.totals.days) == (9 * USD, 40)
    assert here.totals.expected == pytest.approx(30 * USD, rel=0.001)
    assert here.ends == datetime(2026, 12, 1, tzinfo=zone).timestamp()
    there = read_forecast(ledger, zone="UTC", now=now)
    assert there.totals.spent == 10 * USD  # what New York spent on the last evening of October as well


def test_what_was_never_spent_is_not_expected() -> None:
    row = told({"search": [0] * 40}).totals
    assert (row.spent, row.expected) == (0, None)


# ---------------------------------------------------------------- budgets


def outlook(budget: Budget, costs: dict[str, Sequence[int]], now: float = NOW) -> Any:
    (one,) = told(costs, now=now, budgets=[budget]).budgets
    return one


def test_the_day_on_which_a_budget_runs_out() -> None:
    one = outlook(Budget("team", 250 * USD, Calendar("month")), {"search": [10 * USD] * 45})
    assert (one.key, one.group) == ("budget:team:month@UTC:search", {"team": "search"})
    assert one.spent == 190 * USD
    # 190 until the 19th, 10 a day from the 20th on: the sixth of them ends at 250.
    assert one.runs_out in (date(2026, 11, 25), date(2026, 11, 26))
    assert one.earliest <= one.runs_out <= one.latest
    assert one.expected == pytest.approx(300 * USD, rel=0.001)


def test_a_budget_that_lasts_does_not_run_out() -> None:
    one = outlook(Budget("global", 400 * USD, Calendar("month")), {"search": [10 * USD] * 45})
    assert (one.runs_out, one.earliest, one.latest) == (None, None, None)


def test_a_budget_that_is_spent_runs_out_today() -> None:
    one = outlook(Budget("global", 100 * USD, Calendar("month")), {"search": [10 * USD] * 45})
    assert one.runs_out == one.earliest == one.latest == date(2026, 11, 20)


def test_only_the_window_that_is_under_way_counts_if_it_is_a_month() -> None:
    late = datetime(2026, 11, 29, tzinfo=UTC).timestamp()
    one = outlook(Budget("global", 305 * USD, Calendar("month")), {"search": [10 * USD] * 45}, now=late)
    assert one.runs_out is None


def test_windows_of_days_and_weeks_are_looked_at_for_a_month() -> None:
    rising = {"search": [(10 + day) * USD for day in range(45)]}
    one = outlook(Budget("global", 65 * USD, Calendar("day")), rising)
    assert one.spent == 0
    assert date(2026, 11, 24) < one.runs_out < date(2026, 12, 10)
    week = outlook(Budget("global", 460 * USD, Calendar("week")), rising)
    assert week.runs_out > date(2026, 11, 23)
    assert week.runs_out.isoweekday() == 7


def test_a_rolling_window_runs_out_when_the_last_days_are_too_dear() -> None:
    rising = {"search": [(10 + day) * USD for day in range(45)]}
    one = outlook(Budget("global", 450 * USD, Rolling(7 * 86_400.0)), rising)
    assert one.spent == sum(10 + day for day in range(39, 45)) * USD
    assert date(2026, 11, 25) < one.runs_out < date(2026, 12, 8)


def test_a_budget_of_one_team_stands_in_place_of_that_of_each() -> None:
    costs = {"mail": [USD] * 45, "search": [USD] * 45}
    budgets = [Budget("team", 20 * USD, Calendar("month")), Budget("team=mail", 90 * USD, Calendar("month"))]
    found = {one.group["team"]: one for one in told(costs, budgets=budgets).budgets}
    assert (found["mail"].limit, found["mail"].runs_out) == (90 * USD, None)
    assert (found["search"].limit, found["search"].runs_out) == (20 * USD, date(2026, 11, 20))


def test_windows_that_are_no_whole_days_are_left_out() -> None:
    budgets = [Budget("global", USD, Calendar("hour")), Budget("team", USD, Fixed(90_000.0))]
    assert told({"search": [USD] * 45}, budgets=budgets).budgets == ()


def test_a_budget_without_history_has_no_outlook() -> None:
    one = outlook(Budget("global", 90 * USD, Calendar("month")), {"search": [USD]})
    assert (one.spent, one.expected, one.runs_out) == (USD, None, None)


def test_a_gateway_forecasts_with_its_own_budgets() -> None:
    here = scene({"a": ["yes"]}, Limits([Budget("team", 10_000 * USD, Calendar("month"))]))
    for _ in range(20):
        with use_context(Context(team="search")):
            ask("sync", here.gateway)
        here.clock.advance(86_400.0)
    forecast = here.gateway.forecast("team")
    (row,) = forecast.rows
    (budget,) = forecast.budgets
    assert (row.method, row.days) == ("trend", 20)
    assert (budget.group, budget.mode, budget.limit) == ({"team": "search"}, "hard", 10_000 * USD)
    assert json.loads(json.dumps(forecast.to_dict()))["budgets"][0]["runs_out"] is None


# ---------------------------------------------------------------- command


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration and its ledger in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("llmgate.yaml").write_text(
        "model_list: [{model_name: a, litellm_params: {model: openai/gpt-4o-mini, api_key: env:NO}}]\n"
        "ledger: sqlite:///books.db\n"
        "budgets:\n"
        "  - {scope: team, limit: 700 USD/month}\n"
        "  - {scope: global, limit: 9 USD/month, hard: false}\n"
    )
    return tmp_path / "books.db"


def fill(path: Path, days: int) -> None:
    now = datetime.now(UTC).timestamp()
    filled = Filled(f"sqlite:///{path}")
    filled.fill(daily({"search": [9 * USD] * days, "mail": [USD] * days}, now - days * 86_400.0))
    filled.close()


def test_the_command_prints_a_table_that_fits_and_says_when_budgets_run_out(books: Path) -> None:
    fill(books, 50)
    told = CliRunner().invoke(llmgate, ["forecast", "--by", "team"])
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("search") and re.search(r"trend, (49|50) d", line) for line in lines)
    assert any(line.startswith("team search") and " month " in line for line in lines)
    assert any(line.startswith("all together") and " month, soft " in line for line in lines)
    data = json.loads(CliRunner().invoke(llmgate, ["forecast", "--json"]).output)
    assert data["totals"]["method"] == "trend"
    assert len(data["budgets"]) == 3


def test_the_command_is_honest_about_little_history(books: Path) -> None:
    fill(books, 5)
    told = CliRunner().invoke(llmgate, ["forecast"])
    assert "run rate, " in told.output
    assert "Short history: " in told.output
    fill(books, 1)
    assert "No forecast: " in CliRunner().invoke(llmgate, ["forecast"]).output
    fill(books, 0)
    assert "Nothing was spent" in CliRunner().invoke(llmgate, ["forecast"]).output
