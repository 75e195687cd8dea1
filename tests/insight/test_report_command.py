"""`llmgate report`: tables that fit a terminal, data for machines, and what it says when there is nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from support.ledger_rows import Filled, RowsLedger, failed_over

from benchmarks.month import make_rows
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.cli.report import COLUMNS
from llmgate_plugins.insight import ReportRow
from llmgate_plugins.ledger import SqlLedger

BY = [
    "model", "team", "team,model", "day", "hour,feature", "tag:job", "error_class,provider",
    "tenant,team,project,user", "policy,policy_version,environment", "",
]  # fmt: skip


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("books") / "llmgate.db"
    make_rows(path, 3_000)
    return f"sqlite:///{path}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(llmgate, ["report", *arguments])


@pytest.mark.parametrize("by", BY)
def test_a_table_fits_in_eighty_columns(ledger: str, by: str) -> None:
    told = run("--ledger", ledger, "--by", by, "--top", "20")
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "requests" in told.output
    assert "cost" in told.output
    assert any(line.startswith("total") and line.split()[1] in ("2,858", "3,000") for line in lines)


def test_a_table_says_what_it_is_about(ledger: str) -> None:
    told = run("--ledger", ledger, "--by", "team", "--since", "2026-11-01", "--until", "2026-11-08")
    assert told.output.startswith("Requests are calls, from 2026-11-01 00:00 to 2026-11-08 00:00 (UTC).\n")
    told = run("--ledger", ledger, "--where", "team=search", "--where", "cost>0.001", "--zone", "Asia/Tokyo")
    assert "Requests are attempts" in told.output
    assert "where team=search and cost>$0.001" in " ".join(told.output.split())


def test_hours_tell_how_far_the_clock_is_ahead_where_it_changes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'books.db'}"
    filled = Filled(url)
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    rows = [
        row | {"call_id": f"c{hour}", "at": at + hour * 3_600, "team": ""}
        for hour in range(2)
        for row in failed_over().attempt_rows
    ]
    filled.fill(RowsLedger(rows, []))
    filled.close()
    told = run("--ledger", url, "--by", "hour,team", "--zone", "Europe/Berlin", "--of", "attempts").output
    assert re.findall(r"^(2026-\S+ \S+)", told, re.MULTILINE) == [
        "2026-10-25 02:00+02:00",
        "2026-10-25 02:00+01:00",
    ]
    assert told.count('""') == 2, "an empty name can be told from none"
    told = run("--ledger", url, "--by", "hour", "--of", "attempts").output
    assert re.findall(r"^(2026-\S+ \S+)", told, re.MULTILINE) == ["2026-10-25 00:00", "2026-10-25 01:00"]


def test_a_dimension_with_a_comma_stands_in_quotes(ledger: str) -> None:
    told = json.loads(run("--ledger", ledger, "--by", '"tag:a,b", team', "--json").output)
    assert told["by"] == ["tag:a,b", "team"]
    assert run("--ledger", ledger, "--by", "tag:a,b").exit_code == 2


def test_rows_can_be_sorted_and_cut(ledger: str) -> None:
    told = json.loads(
        run("--ledger", ledger, "--by", "team", "--sort", "p95_s", "--top", "3", "--json").output
    )
    slowest = [row["p95_s"] for row in told["rows"]]
    assert slowest == sorted(slowest, reverse=True)
    assert (len(slowest), told["totals"]["calls"]) == (3, 2_858)
    named = json.loads(run("--ledger", ledger, "--by", "team", "--sort", "team", "--json").output)
    names = [row["team"] for row in named["rows"]]
    assert names == sorted(names)
    assert "3 of 8 rows; the total is of all." in run("--ledger", ledger, "--by", "team", "--top", "3").output


def test_columns_are_shown_as_asked(ledger: str) -> None:
    told = run("--ledger", ledger, "--by", "provider", "--columns", "requests,success_interval,error_classes")
    head = told.output.splitlines()[2]
    assert head.split("  ")[0] == "provider"
    assert "ok % (95% sure)" in head
    assert "rate_limit:" in told.output
    every = run("--ledger", ledger, "--columns", ",".join(COLUMNS))
    assert every.exit_code == 0
    assert set(COLUMNS) - {"success_interval"} <= set(ReportRow(group={}).to_dict())


def test_data_comes_as_json_csv_and_parquet(ledger: str, tmp_path: Path) -> None:
    data = json.loads(run("--ledger", ledger, "--by", "model", "--json").output)
    lines = run("--ledger", ledger, "--by", "model", "--csv").output.splitlines()
    assert len(lines) == 1 + len(data["rows"]) == 5
    file = tmp_path / "models.parquet"
    told = run("--ledger", ledger, "--by", "model", "--parquet", str(file))
    assert "models.parquet: 4 rows" in told.output.replace("\n", "")
    assert sum(pq.read_table(file)["cost_nano_usd"].to_pylist()) == data["totals"]["cost_nano_usd"]


def test_an_empty_ledger_says_so_with_a_hint(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    SqlLedger(url).close()
    told = run("--ledger", url)
    assert told.exit_code == 0
    assert "Nothing in the books from the beginning to now (UTC)." in told.output
    assert "llmgate chat" in told.output
    assert "Ask for a longer time" in run("--ledger", url, "--since", "1h").output


def test_the_ledger_is_that_of_the_configuration(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run()
    assert told.exit_code == 2
    assert "--ledger sqlite:///FILE" in told.output
    models = "model_list: [{model_name: a, litellm_params: {model: openai/gpt-4o-mini, api_key: env:NO}}]\n"
    Path("llmgate.yaml").write_text(f"{models}ledger: {ledger}\n")
    assert run("--by", "team").exit_code == 0
    Path("other.yaml").write_text(f"{models}ledger: memory\n")
    told = run("--config", "other.yaml")
    assert told.exit_code == 2
    assert "in memory" in told.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "tema"], "did you mean team"),
        (["--where", "nonsense"], "is no condition"),
        (["--since", "someday"], "is no moment"),
        (["--zone", "Nowhere"], "no time zone"),
        (["--sort", "beauty"], "cannot be sorted by"),
        (["--columns", "beauty"], "there is no 'beauty'"),
        (["--of", "calls"], "belongs to an attempt"),
        (["--json", "--csv"], "choose one"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(ledger: str, arguments: list[str], said: str) -> None:
    told = run("--ledger", ledger, *arguments)
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())
    assert "Traceback" not in told.output


def test_a_ledger_may_be_named_by_its_file(ledger: str) -> None:
    assert run("--ledger", ledger.removeprefix("sqlite:///")).output == run("--ledger", ledger).output


def test_a_ledger_that_is_not_there_is_named(tmp_path: Path) -> None:
    told = run("--ledger", f"sqlite:///{tmp_path}/no.db")
    assert told.exit_code == 2
    assert "there is no ledger" in told.output


def test_a_label_cannot_move_the_cursor(tmp_path: Path) -> None:
    rows = failed_over()
    for row in (*rows.attempt_rows, *rows.call_rows):
        row["team"] = "\x1b[2J\rgone"
    url = f"sqlite:///{tmp_path / 'books.db'}"
    filled = Filled(url)
    filled.fill(rows)
    filled.close()
    told = run("--ledger", url, "--by", "team")
    assert "\x1b" not in told.output
    assert "?[2J?gone" in told.output
