"""A report says what a slow and simple reading of all rows says, in every kind of ledger."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.books import intent, record, settlement
from support.faces import ask, every_face
from support.gateways import scene
from support.ledger_rows import BEGIN, Filled, RowsLedger, books, failed_over

from llmgate_plugins import ConfigurationError, Context, Request, StorageError, use_context
from llmgate_plugins.insight import Quantiles, Report, ReportRow, read_forecast, read_report
from llmgate_plugins.insight.books import open_books
from llmgate_plugins.ledger import MemoryLedger, SqlLedger
from llmgate_plugins.ledger.entries import Entry
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.plugins import Failover
from llmgate_plugins.services import Ledger
from llmgate_plugins.testing import Fault, Slow
from llmgate_plugins.types import BUCKETS

Opened = Callable[[RowsLedger], "Ledger | str"]

BOTH: dict[str, Callable[[dict[str, Any]], Any]] = {
    "team": lambda row: row["team"],
    "user": lambda row: row["user_id"],
    "policy": lambda row: row["policy"],
    "stream": lambda row: row["stream"],
    "priority": lambda row: row["priority"],
    "tag:job": lambda row: row["tags"].get("job"),
    'tag:od"d': lambda row: row["tags"].get('od"d'),
    "tag:ü": lambda row: row["tags"].get("ü"),
    "extra:a.b": lambda row: row["extra"].get("a.b"),
}
OF_ATTEMPTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **BOTH,
    "route": lambda row: row["requested_model"] or row["alias"],
    "model": lambda row: row["model"],
    "served_model": lambda row: row["served_model"] or row["model"],
    "provider": lambda row: row["provider"],
    "region": lambda row: row["region"],
    "reason": lambda row: row["reason"],
    "error_class": lambda row: row["error_class"],
    "http_status": lambda row: row["http_status"],
}
OF_CALLS = {**BOTH, "route": lambda row: row["model"]}


def times(zone: str) -> dict[str, Callable[[dict[str, Any]], Any]]:
    def local(row: dict[str, Any]) -> datetime:
        return datetime.fromtimestamp(row["at"], UTC).astimezone(ZoneInfo(zone))

    return {
        "hour": lambda row: local(row).replace(minute=0, second=0).isoformat(timespec="minutes"),
        "day": lambda row: local(row).date().isoformat(),
        "week": lambda row: (local(row).date() - timedelta(days=local(row).weekday())).isoformat(),
        "month": lambda row: local(row).date().replace(day=1).isoformat(),
    }


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Puts rows into a ledger of this kind."""
    if request.param == "memory":
        yield RowsLedger.as_ledger
        return
    url = f"sqlite:///{tmp_path / 'books.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    filled = Filled(url)
    yield filled.fill
    filled.close()


def naive(
    rows: RowsLedger,
    by: Sequence[str],
    of: str,
    keep: Callable[[dict[str, Any]], bool],
    zone: str = "UTC",
    calls_know: bool = True,
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Group -> what a report should say of it; () for all."""
    sent = [row for row in rows.attempt_rows if row["status"] not in ("skipped", "intent") and keep(row)]
    of_attempt, of_call = {**OF_ATTEMPTS, **times(zone)}, {**OF_CALLS, **times(zone)}
    calls_know = calls_know and all(name in of_call for name in by)
    calls = [row for row in rows.call_rows if keep(row)] if calls_know else []
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    groups: dict[tuple[Any, ...], tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for row in sent:
        groups[tuple(of_attempt[name](row) for name in by)][0].append(row)
    for row in calls:
        groups[tuple(of_call[name](row) for name in by)][1].append(row)
    groups[("totals",)] = (sent, calls)
    for key, (mine, of_them) in groups.items():
        asked = of_them if of == "calls" else mine
        good = ("success", "answered") if of == "calls" else ("success",)
        classes: dict[str, int] = defaultdict(int)
        for row in mine:
            if row["error_class"]:
                classes[row["error_class"]] += 1
        found[key] = {
            "requests": len(asked),
            "successes": sum(row["status"] in good for row in asked),
            "failures": sum(row["status"] == "error" for row in asked),
            "calls": len(of_them) if calls_know else len({row["call_id"] for row in mine}),
            "denied": sum(row["status"] == "denied" for row in of_them),
            "answered": sum(row["status"] == "answered" for row in of_them),
            "attempts": len(mine),
            "retries": sum(row["reason"] == "retry" for row in mine),
            "failovers": sum(row["reason"] == "next_deployment" for row in mine),
            "hedges": sum(row["reason"] == "hedge" for row in mine),
            "error_classes": dict(classes),
            "latency": quantiles(row["latency_s"] for row in asked if row["status"] in good),
            "first_token": quantiles(row["first_token_s"] for row in asked if row["status"] in good),
            "tokens": {bucket: sum(row[f"{bucket}_tokens"] for row in mine) for bucket in BUCKETS},
            "estimated": sum(row["estimated"] for row in mine),
            "cost": sum(row["cost_nano_usd"] for row in mine),
        }
    return found


def quantiles(values: Iterator[float | None]) -> Quantiles:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Quantiles()
    return Quantiles(*(known[max(math.ceil(share * len(known)), 1) - 1] for share in (0.5, 0.95, 0.99)))


def told(row: ReportRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ReportRow.__dataclass_fields__ if name != "group"}


def check(report: Report, expected: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert told(report.totals) == expected.pop(("totals",))
    if not report.by:
        expected.setdefault((), told(ReportRow(group={}, tokens=dict.fromkeys(BUCKETS, 0))))
    assert {tuple(row.group.values()): told(row) for row in report} == expected


HARD = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@HARD
@given(
    rows=books(),
    by=st.lists(st.sampled_from([*OF_ATTEMPTS, *times("UTC")]), max_size=2, unique=True),
    of=st.sampled_from([None, "attempts"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"]),
    since=st.integers(-1, 31),
    days=st.integers(1, 40),
)
def test_it_says_what_all_rows_say(
    opened: Opened, rows: RowsLedger, by: list[str], of: Any, zone: str, since: int, days: int
) -> None:
    start = BEGIN + since * 86_400.0
    end = start + days * 86_400.0
    report = read_report(opened(rows), by=by, of=of, zone=zone, since=start, until=end)
    check(report, naive(rows, by, report.of, lambda row: start <= row["at"] < end, zone))


CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "team=search": lambda row: row["team"] == "search",
    "team=search,mail": lambda row: row["team"] in ("search", "mail"),
    "team!=search": lambda row: row["team"] != "search",
    "team=": lambda row: row["team"] is None,
    "team!=,mail": lambda row: row["team"] not in (None, "mail"),
    "team=o'brien": lambda row: row["team"] == "o'brien",
    'team="; drop table attempts; --': lambda row: row["team"] == '"; drop table attempts; --',
    "tag:job=x": lambda row: row["tags"].get("job") == "x",
    "tag:job!=x": lambda row: row["tags"].get("job") != "x",
    'tag:od"d=y,=': lambda row: row["tags"].get('od"d') in ("y", "="),
    "extra:ü!=": lambda row: "ü" in row["extra"],
    "stream=true": lambda row: row["stream"],
    "priority=0,2": lambda row: row["priority"] in (0, 2),
    "cost>50": lambda row: row["cost_nano_usd"] > 50 * 10**9,
    "latency<=30s": lambda row: row["latency_s"] is not None and row["latency_s"] <= 30,
    "first_token>=500ms": lambda row: (row["first_token_s"] or 0) >= 0.5,
    "tokens<20000": lambda row: sum(row[column] for column in TOKEN_COLUMNS) < 20_000,
    "status=error": lambda row: row["status"] == "error",
    "error_class!=timeout": lambda row: row["error_class"] != "timeout",
    "http_status=429": lambda row: row["http_status"] == 429,
}


@HARD
@given(
    rows=books(),
    where=st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=3, unique=True),
    by=st.sampled_from([["model"], ["team"], []]),
)
def test_only_rows_that_meet_all_conditions_count(
    opened: Opened, rows: RowsLedger, where: list[str], by: list[str]
) -> None:
    report = read_report(opened(rows), by=by, where=where)
    check(
        report,
        naive(
            rows,
            by,
            report.of,
            lambda row: all(CONDITIONS[one](row) for one in where),
            calls_know=report.of == "calls",
        ),
    )


HOSTILE = [
    "team); drop table attempts; --",
    "team' or '1'='1",
    "1=1",
    "attempts.team",
    "tags",
    "rowid",
    "sqlite_master",
    "count(*)",
    "tag:",
    "key_0",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_fact_is_refused_wherever_it_stands(name: str) -> None:
    empty = RowsLedger([], []).as_ledger()
    for options in ({"by": [name]}, {"where": [f"{name}=1"]}, {"where": {name: 1}}):
        with pytest.raises(ValueError, match=r"there is no|is no condition"):
            read_report(empty, **options)


@pytest.mark.parametrize("label", ['x") or 1=1 --', "$.x", "a'b", 'a"b', "a\\b", "%s", ":x", "{}"])
def test_a_label_of_any_name_is_only_a_name(opened: Opened, label: str) -> None:
    rows = failed_over()
    for row in (*rows.attempt_rows, *rows.call_rows):
        row["tags"] = {label: f"value of {label}"}
    report = read_report(opened(rows), by=[f"tag:{label}"])
    assert [row.group for row in report] == [{f"tag:{label}": f"value of {label}"}]
    assert len(read_report(opened(rows), where={f"tag:{label}": "other"})) == 0


@pytest.mark.parametrize(
    ("where", "meant", "told"),
    [
        ('team="R, D"', {"R, D"}, 'team="R, D"'),
        ('team= "R, D" , mail', {"R, D", "mail"}, 'team="R, D",mail'),
        ('team="R, ""D"""', {'R, "D"'}, 'team="R, ""D"""'),
        ('team!="R, D",', {"R", "mail", 'R, "D"', 'a"b', '"half'}, 'team!="R, D",'),
        ("team=R,D", {"R"}, "team=R,D"),
        ("team=", {None}, "team="),
        ('team=a"b', {'a"b'}, 'team=a"b'),
        ('team="half', {'"half'}, 'team="""half"'),
    ],
)
def test_in_quotes_a_comma_is_a_part_of_a_name(where: str, meant: set[str | None], told: str) -> None:
    names = ("R, D", "R", "mail", 'R, "D"', 'a"b', '"half', None)
    (template, _) = failed_over().attempt_rows
    rows = [template | {"call_id": f"c{at}", "team": name} for at, name in enumerate(names)]
    report = read_report(RowsLedger(rows, []).as_ledger(), by="team", where=where, of="attempts")
    assert {row.group["team"] for row in report} == meant
    assert report.where == (told,)
    again = read_report(RowsLedger(rows, []).as_ledger(), by="team", where=report.where, of="attempts")
    assert {row.group["team"] for row in again} == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("team", "is no condition"),
        ("cost>much", "compared with dollars"),
        ("latency>2h", "compared with a time"),
        ("tokens>1.5", "compared with a whole number"),
        ("team>search", "compared by = and != alone"),
        ("stream=perhaps", "must be true or false"),
        ("tema=search", "did you mean team"),
    ],
)
def test_a_condition_that_makes_no_sense_says_what_would(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_report(RowsLedger([], []).as_ledger(), where=text)


def test_a_call_that_failed_over_is_one_call_whatever_it_is_looked_at_by() -> None:
    by_team = read_report(failed_over().as_ledger(), by="team")
    (row,) = by_team
    assert (by_team.of, row.calls, row.requests, row.attempts) == ("calls", 1, 1, 2)
    assert (row.success_rate, row.latency.p95, row.failovers, row.timeouts) == (1.0, 10.0, 1, 1)
    by_model = read_report(failed_over().as_ledger(), by="model")
    assert by_model.of == "attempts"
    assert [(row.group["model"], row.calls, row.success_rate) for row in by_model] == [
        ("model-b", 1, 1.0),
        ("model-a", 1, 0.0),
    ]
    assert (by_model.totals.calls, by_model.totals.requests) == (1, 2)
    assert by_model.totals.cost == by_team.totals.cost == 8


def test_amounts_have_units_and_intervals() -> None:
    (row,) = read_report(failed_over().as_ledger(), by="team")
    told = row.to_dict()
    assert told["cost_usd"] == told["cost_per_request_usd"] == pytest.approx(8e-9)
    assert told["cost_per_1k_tokens_usd"] == pytest.approx(8e-9 * 20)
    low, high = row.success_interval or (0.0, 0.0)
    assert (round(low, 4), round(high, 4)) == (0.2065, 1.0)  # Wilson's for 1 of 1
    nothing = ReportRow(group={})
    assert nothing.success_interval is nothing.success_rate is nothing.cost_per_request_usd is None
    assert nothing.cost_per_1k_tokens_usd is None


def test_wilsons_interval_is_the_textbooks() -> None:
    row = ReportRow(group={}, successes=90, failures=10)
    low, high = row.success_interval or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.8256343384950865, 0.9447707995366662))


def test_a_report_of_calls_is_not_by_what_belongs_to_attempts() -> None:
    empty = RowsLedger([], []).as_ledger()
    with pytest.raises(ValueError, match="belongs to an attempt"):
        read_report(empty, by="model", of="calls")
    with pytest.raises(ValueError, match="belongs to an attempt"):
        read_report(empty, by="team", where="cost>1", of="calls")
    with pytest.raises(ValueError, match="twice"):
        read_report(empty, by=["team", "team"])
    with pytest.raises(ValueError, match="calls or of attempts"):
        read_report(empty, of=cast("Any", "tokens"))


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("since", "zone", "begins"),
    [
        ("7d", "UTC", datetime(2026, 11, 21, 12, tzinfo=UTC)),
        ("90m", "UTC", datetime(2026, 11, 28, 10, 30, tzinfo=UTC)),
        ("today", "Europe/Berlin", datetime(2026, 11, 27, 23, tzinfo=UTC)),
        ("yesterday", "UTC", datetime(2026, 11, 27, tzinfo=UTC)),
        ("week", "UTC", datetime(2026, 11, 23, tzinfo=UTC)),
        ("month", "UTC", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-10-25", "Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC)),
        ("2026-11-01T09:30", "America/New_York", datetime(2026, 11, 1, 14, 30, tzinfo=UTC)),
        ("2026-11-01T09:30+02:00", "America/New_York", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        (timedelta(hours=1), "UTC", datetime(2026, 11, 28, 11, tzinfo=UTC)),
        (date(2026, 11, 2), "Asia/Tokyo", datetime(2026, 11, 1, 15, tzinfo=UTC)),
        (
            datetime(2026, 11, 2, 3, tzinfo=UTC).replace(tzinfo=None),
            "UTC",
            datetime(2026, 11, 2, 3, tzinfo=UTC),
        ),
    ],
)
def test_a_span_begins_when_people_mean(since: Any, zone: str, begins: datetime) -> None:
    report = read_report(RowsLedger([], []).as_ledger(), since=since, zone=zone, now=NOW)
    assert report.since == begins.timestamp()


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ({"since": "last week"}, "is no moment"),
        ({"since": "7d", "until": "8d"}, "must be earlier"),
        ({"since": "7d", "zone": "Mars/Olympus"}, "no time zone"),
        ({"since": float("nan")}, "is no moment"),
    ],
)
def test_a_span_that_makes_no_sense_is_refused(span: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_report(RowsLedger([], []).as_ledger(), now=NOW, **span)


@every_face
def test_a_gateway_reports_of_its_own_ledger(face: str) -> None:
    script = {"a": [Slow(0.1, Fault("rate_limit")), Slow(0.2, "yes")], "b": [Slow(0.4, "yes")]}
    here = scene(script, Failover(max_attempts=3))
    with use_context(Context(team="search", policy="default")):
        ask(face, here.gateway)
    report = here.gateway.report("deployment", since="1h")
    assert {row.group["deployment"]: row.error_classes for row in report} == {"a": {"rate_limit": 1}, "b": {}}
    (row,) = here.gateway.report(["team", "policy"])
    assert row.group == {"team": "search", "policy": "default"}
    assert (row.calls, row.attempts, row.throttles, row.success_rate) == (1, 2, 1, 1.0)
    assert row.latency.p50 == pytest.approx(0.5)
    assert row.cost == here.gateway.decisions[-1].cost
    assert len(here.gateway.report(until="1h")) == 0


def test_shadows_of_calls_are_left_out_unless_asked_for() -> None:
    ledger = MemoryLedger()
    for call_id, shadow_of, cost in (("c1", None, 50), ("c2", "c1", 7), ("c3", None, 100)):
        call = record(call_id, shadow_of=shadow_of, costs=(cost,))
        ledger.open_attempt(intent(call_id, call=call))
        ledger.settle_attempt(call_id, 1, settlement(cost=cost))
        ledger.close_call(call)
    for by in ("model", "team"):
        told = {
            which: read_report(ledger, by=by, shadow_calls=which) for which in ("without", "only", "with")
        }
        assert {which: (one.totals.calls, one.totals.cost) for which, one in told.items()} == {
            "without": (2, 150),
            "only": (1, 7),
            "with": (3, 157),
        }
    by_call = read_report(ledger, by="shadow_of", shadow_calls="with")
    assert {row.group["shadow_of"]: row.cost for row in by_call} == {None: 150, "c1": 7}
    assert read_forecast(ledger, now=1_001.0).totals.spent == 150
    assert read_forecast(ledger, now=1_001.0, shadow_calls="only").totals.spent == 7
    with pytest.raises(ValueError, match="without, with or only"):
        read_report(ledger, shadow_calls="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("tries", [50, 0])
def test_a_report_sees_one_moment_of_books_that_are_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    monkeypatch.setattr("llmgate_plugins.insight.books.TRIES", tries)
    url = f"sqlite:///{tmp_path}/books.db"
    ledger, stop = SqlLedger(url), threading.Event()

    def write() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            call, subject = f"c{number:06}", (f"c{number:06}", 1, settlement())
            entries = (Entry("open", intent(call)), Entry("settle", subject), Entry("close", record(call)))
            ledger._tables.write([entry.step() for entry in entries])  # in one transaction

    writing = threading.Thread(target=write)
    writing.start()
    seen = [read_report(url, by="policy").totals for _ in range(20)]
    stop.set()
    writing.join()
    ledger.close()
    assert [one.calls for one in seen] == [one.attempts for one in seen]
    assert seen[0].calls < seen[-1].calls


def test_an_hour_that_comes_twice_stands_in_its_order(opened: Opened) -> None:
    rows = failed_over()
    hours = [
        datetime(2026, 10, 24, 22 + hour, tzinfo=UTC)
        if hour < 2
        else datetime(2026, 10, 25, hour - 2, tzinfo=UTC)
        for hour in range(5)
    ]
    made = RowsLedger(
        [
            row | {"call_id": f"c{place}", "at": hour.timestamp()}
            for place, hour in enumerate(hours)
            for row in rows.attempt_rows
        ],
        [],
    )
    report = read_report(opened(made), by=("hour",), of="attempts", zone="Europe/Berlin")
    wanted = [
        f"2026-10-25T0{hour}"
        for hour in ("0:00+02:00", "1:00+02:00", "2:00+02:00", "2:00+01:00", "3:00+01:00")
    ]
    assert [row.group["hour"] for row in report] == wanted
    assert [row.group["hour"] for row in report.ordered("cost_usd").ordered("hour")] == wanted


def test_an_empty_ledger_gives_an_empty_report(opened: Opened) -> None:
    report = read_report(opened(RowsLedger([], [])), by=["team", "day"])
    assert (len(report), report.totals.requests, report.totals.cost) == (0, 0, 0)


def test_a_report_without_rows_has_its_columns_in_csv_parquet_and_pandas(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    full = read_report(failed_over().as_ledger(), by="team")
    none = read_report(RowsLedger([], []).as_ledger(), by="team")
    full.to_parquet(tmp_path / "full.parquet")
    none.to_parquet(tmp_path / "none.parquet")
    told, found = (pq.read_schema(tmp_path / f"{name}.parquet") for name in ("full", "none"))
    assert found.names == told.names
    known = [one for one in told if str(one.type) != "null"]  # what no row says has no type there
    assert [found.field(one.name).type for one in known] == [one.type for one in known]
    assert list(none.to_frame().columns) == list(full.to_frame().columns)
    assert none.to_csv().splitlines() == full.to_csv().splitlines()[:1]


def test_a_report_is_ordered_by_any_measure_that_its_rows_have() -> None:
    report = read_report(failed_over().as_ledger(), by="model")
    for name in set(report.rows[0].to_dict()) - {"error_classes"}:
        assert len(report.ordered(name)) == len(report)


def test_rows_go_to_csv_json_parquet_and_pandas(tmp_path: Path) -> None:
    rows = failed_over()
    for row in (*rows.attempt_rows, *rows.call_rows):
        row["team"] = "=cmd|' /C calc'!A0"
    report = read_report(rows.as_ledger(), by="team")
    (line,) = csv.DictReader(io.StringIO(report.to_csv()))
    assert line["team"] == "'=cmd|' /C calc'!A0"
    assert (line["cost_nano_usd"], line["error_classes"], line["p50_s"]) == ("8", "timeout:1", "10.0")
    assert json.loads(json.dumps(report.to_dict()))["rows"][0]["error_classes"] == {"timeout": 1}
    frame = report.to_frame()
    assert frame["cost_nano_usd"].sum() == 8
    assert list(frame["team"]) == ["=cmd|' /C calc'!A0"]
    report.to_parquet(tmp_path / "report.parquet")
    import pyarrow.parquet as pq

    (back,) = pq.read_table(tmp_path / "report.parquet").to_pylist()
    assert (back["team"], back["cost_nano_usd"], back["p95_s"]) == ("=cmd|' /C calc'!A0", 8, 10.0)


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_package_that_is_missing_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = read_report(failed_over().as_ledger())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match="pip install"):
        report.to_frame() if package == "pandas" else report.to_parquet(tmp_path / "x.parquet")


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        read_report(f"sqlite:///{tmp_path / 'no.db'}")
    assert list(tmp_path.iterdir()) == []


READ_BY_SOMEBODY_ELSE = """
import os, sys
from llmgate_plugins.insight import read_report
url = sys.argv[1]
read_report(url)  # what is imported only now is so while all may be read
if os.geteuid() == 0:
    os.setuid(65534)
try:
    open(sys.argv[2], "a")
except PermissionError:
    print(read_report(url).totals.attempts)
"""


def test_books_may_be_read_where_nothing_may_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        filled = Filled(f"sqlite:///{place / 'books.db'}")
        url = filled.fill(failed_over())
        filled.close()
        (place / "books.db").chmod(0o444)
        place.chmod(0o555)
        told = subprocess.run(
            [sys.executable, "-c", READ_BY_SOMEBODY_ELSE, url, str(place / "books.db")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        place.chmod(0o755)
        assert (told.stdout, told.stderr) == ("2\n", "")


def test_who_only_looks_changes_no_file_of_others(tmp_path: Path) -> None:
    path = tmp_path / "others.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE attempts (id INTEGER)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="not llmgate's"):
        read_report(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["others.db"]


def test_what_is_no_ledger_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and it is long enough to be sure of that" * 99)
    with pytest.raises(StorageError, match="cannot be a ledger"):
        read_report(f"sqlite:///{tmp_path / 'text.db'}")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        read_report(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(ConfigurationError, match="there are: sqlite") as refused:
        read_report("mysql://user:hidden@host/books")
    assert "hidden" not in str(refused.value)


def test_too_many_hours_are_refused() -> None:
    rows = failed_over()
    far = {**rows.attempt_rows[0], "call_id": "far", "at": BEGIN - 40 * 365 * 86_400.0}
    with pytest.raises(ValueError, match=r"more than 100,000 rows"):
        read_report(RowsLedger([*rows.attempt_rows, far], []).as_ledger(), by="hour")


def test_a_request_shows_where_it_was_asked_from() -> None:
    here = scene({"a": ["yes"]})
    ask("sync", here.gateway, Request(model="fast", messages=(), tags={"job": "nightly"}))
    (row,) = here.gateway.report("tag:job")
    assert row.group == {"tag:job": "nightly"}


def test_a_gateway_at_work_does_not_read_its_books_by_way_of_memory(tmp_path: Path) -> None:
    """Whoever truncates a file that is mapped kills the process that reads it."""
    url = f"sqlite:///{tmp_path}/books.db"
    ledger = SqlLedger(url)
    try:
        with open_books(ledger) as own, open_books(url) as others:
            mapped = [
                books.connection.exec_driver_sql("PRAGMA mmap_size").scalar() for books in (own, others)
            ]
        assert mapped[0] == 0
        assert mapped[1] > 0
    finally:
        ledger.close()
