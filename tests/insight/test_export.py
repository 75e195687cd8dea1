"""Exports: every row once, as it stands in the books; in FOCUS the same money to the nano-dollar."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faces import ask
from support.gateways import PRICE, scene
from support.ledger_rows import BEGIN, Filled, RowsLedger, books, failed_over

from benchmarks.month import make_rows
from llmgate_plugins import ConfigurationError, Price
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.insight import export_rows, read_report, read_rows
from llmgate_plugins.insight.export import columns_of
from llmgate_plugins.insight.focus import FOCUS_COLUMNS, focus_rows
from llmgate_plugins.ledger.rows import TOKEN_COLUMNS
from llmgate_plugins.types import NANO, PriceTier

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
"""Of FOCUS 1.2: focus.finops.org/focus-specification/v1-2."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("books") / "llmgate.db"
    make_rows(path, 2_500)
    return f"sqlite:///{path}"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """One call that failed over, in a ledger of each kind."""
    rows = failed_over()
    if request.param == "memory":
        yield rows.as_ledger()
        return
    url = f"sqlite:///{tmp_path / 'books.db'}"
    filled = Filled(request.getfixturevalue("postgres_url") if request.param == "postgres" else url)
    yield filled.fill(rows)
    filled.close()


def text_of(source: Any, **options: Any) -> str:
    file = io.StringIO()
    export_rows(source, file, **options)
    return file.getvalue()


def test_rows_come_as_they_stand_in_the_books(source: Any) -> None:
    first, second = read_rows(source)
    expected = failed_over().attempt_rows
    assert [first["model"], second["model"]] == ["model-a", "model-b"]
    assert {name: first[name] for name in expected[0] if name in first} == expected[0]
    (call,) = read_rows(source, "calls")
    assert (call["cost_nano_usd"], call["tags"]) == (8, {"job": "x"})
    assert "decision" not in call


def test_json_lines_csv_and_parquet_hold_the_same(source: Any, tmp_path: Path) -> None:
    from_json = [json.loads(line) for line in text_of(source, format="jsonl").splitlines()]
    from_csv = list(csv.DictReader(io.StringIO(text_of(source, format="csv"))))
    assert export_rows(source, tmp_path / "rows.parquet") == 2
    from_parquet = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert len(from_json) == len(from_csv) == len(from_parquet) == 2
    for one, two, three in zip(from_json, from_csv, from_parquet, strict=True):
        assert list(one) == list(two) == list(three)
        assert one["tags"] == json.loads(two["tags"]) == json.loads(three["tags"]) == {"job": "x"}
        assert one["cost_nano_usd"] == int(two["cost_nano_usd"]) == three["cost_nano_usd"]
        assert one["latency_s"] == float(two["latency_s"]) == three["latency_s"]
        assert (one["served_model"], two["served_model"], three["served_model"]) == (None, "", None)


def test_rows_are_chosen_by_span_and_conditions(ledger: str) -> None:
    some = list(read_rows(ledger, since=BEGIN + 86_400.0, until=BEGIN + 2 * 86_400.0, where="status=error"))
    assert some
    assert all(row["status"] == "error" and 86_400 <= row["at"] - BEGIN < 172_800 for row in some)
    ats = [row["at"] for row in read_rows(ledger)]
    assert ats == sorted(ats)
    assert len(ats) in (2_500, 2_501)
    with pytest.raises(ValueError, match="belongs to an attempt"):
        list(read_rows(ledger, "calls", where="cost>1"))
    with pytest.raises(ValueError, match="attempts or calls"):
        list(read_rows(ledger, "secrets"))  # type: ignore[arg-type]  # what is tried


def test_a_spreadsheet_runs_nothing(tmp_path: Path) -> None:
    rows = failed_over()
    for row in rows.attempt_rows:
        row["team"] = "=cmd|' /C calc'!A0"
        row["feature"] = "+1"
        row["tags"] = {"@sum": "=1+1"}
    for options in ({}, {"focus": True}):
        for line in csv.reader(io.StringIO(text_of(rows.as_ledger(), format="csv", **options))):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)


@pytest.mark.parametrize(
    "name",
    ["a\r=cmd()", "a\r\n=cmd()", "a\n=cmd()", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"],
)
def test_no_name_begins_a_row_or_a_formula(name: str) -> None:
    rows = failed_over()
    for row in rows.attempt_rows:
        row["team"] = name
    text = text_of(rows.as_ledger(), format="csv")
    read = list(csv.reader(io.StringIO(text, newline=None)))  # as by programs that end a line at a "\r" too
    assert len(read) == 1 + len(rows.attempt_rows)
    assert {len(line) for line in read} == {len(columns_of("attempts"))}
    assert not any(
        cell.startswith(("=", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")) for line in read for cell in line
    )
    assert "\r\n" not in text.replace(name, "")  # lines end as they do on the command line


# ---------------------------------------------------------------- FOCUS


def no_price(provider: str, model: str) -> Price | None:
    return None


@settings(max_examples=30, deadline=None)
@given(rows=books(), priced=st.booleans())
def test_focus_rows_of_an_attempt_add_up_to_its_cost(rows: RowsLedger, priced: bool) -> None:
    charges = list(focus_rows(rows.attempt_rows, lambda provider, model: PRICE if priced else None))
    costs: dict[tuple[str, int], int] = defaultdict(int)
    for one in charges:
        assert tuple(one) == FOCUS_COLUMNS
        assert one["BilledCost"] == Decimal(one["x_CostNanoUsd"]).scaleb(-9)
        assert one["BilledCost"] >= 0
        assert one["ConsumedQuantity"] > 0
        assert one["ListUnitPrice"] * one["PricingQuantity"] == one["ListCost"] == one["ContractedCost"]
        assert abs(one["ListCost"] - one["BilledCost"]) < Decimal(1).scaleb(-9)
        costs[one["x_CallId"], one["x_Number"]] += one["x_CostNanoUsd"]
    for row in rows.attempt_rows:
        assert costs[row["call_id"], row["number"]] == row["cost_nano_usd"]
    tokens = sum(one["ConsumedQuantity"] for one in charges if one["ConsumedUnit"] == "Tokens")
    sent = [row for row in rows.attempt_rows if row["status"] not in ("skipped", "intent")]
    assert tokens == sum(row[column] for row in sent for column in TOKEN_COLUMNS)


def test_focus_totals_are_those_of_the_ledger(ledger: str) -> None:
    lines = list(csv.DictReader(io.StringIO(text_of(ledger, format="csv", focus=True))))
    total = sum(Decimal(line["BilledCost"]) for line in lines)
    assert total == Decimal(read_report(ledger, by="").totals.cost).scaleb(-9)
    assert all("E" not in line["BilledCost"].upper() for line in lines)


def test_every_mandatory_column_of_focus_is_there_and_filled(ledger: str) -> None:
    assert set(FOCUS_COLUMNS) >= MANDATORY
    (first, *_) = csv.DictReader(io.StringIO(text_of(ledger, format="csv", focus=True)))
    may_be_null = {"BillingAccountName", "ChargeClass"}
    assert [name for name in MANDATORY - may_be_null if not first[name]] == []
    assert first["ServiceCategory"] == "AI and Machine Learning"
    assert (first["ChargeCategory"], first["BillingCurrency"]) == ("Usage", "USD")
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    )
    assert first["ChargePeriodStart"] < first["ChargePeriodEnd"]
    assert json.loads(first["Tags"])["step"] == "answer"
    own = [name for name in FOCUS_COLUMNS if name not in MANDATORY and name.startswith("x_")]
    assert {"x_CallId", "x_Team", "x_Policy", "x_CostNanoUsd"} <= set(own)


def test_a_price_that_explains_the_cost_is_the_unit_price() -> None:
    row = failed_over().attempt_rows[1] | {"cost_nano_usd": 90, "input_tokens": 10, "output_tokens": 40}
    read, written = focus_rows([row], lambda provider, model: PRICE)
    assert (read["x_CostNanoUsd"], written["x_CostNanoUsd"], read["x_CostSplit"]) == (10, 80, "price")
    assert read["ListUnitPrice"] * read["ConsumedQuantity"] == read["ListCost"]
    assert written["ListUnitPrice"] == Decimal(2) / NANO
    read, written = focus_rows([row], no_price)
    assert (read["x_CostNanoUsd"], written["x_CostNanoUsd"], read["x_CostSplit"]) == (18, 72, "tokens")
    assert (read["ListUnitPrice"], read["x_UnitPriceFrom"]) == (Decimal(18) / 10 / NANO, "billed")


def test_a_price_has_one_id_whatever_it_is_and_wherever_it_is_from() -> None:
    row = failed_over().attempt_rows[1] | {"input_tokens": 10, "output_tokens": 40}
    ids = {
        one["SkuPriceId"]
        for known in ({"price_source": None}, {"price_source": "litellm", "price_as_of": "2026-11-01"})
        for one in focus_rows([row | known], no_price)
    }
    assert ids == {
        f"{row['provider']}/{row['served_model'] or row['model']}/{meter}" for meter in ("input", "output")
    }


def test_a_list_cost_is_the_list_price_of_so_many_to_the_last_fraction() -> None:
    row = failed_over().attempt_rows[1] | {"cost_nano_usd": 37, "input_tokens": 10, "output_tokens": 1}
    price = Price(input=3_625_000, output=0)  # 36.25 nano-dollars, and what is billed is rounded up
    charges = list(focus_rows([row], lambda provider, model: price))
    for one in charges:
        assert one["ListUnitPrice"] * one["PricingQuantity"] == one["ListCost"] == one["ContractedCost"]
    assert sum(one["BilledCost"] for one in charges) == Decimal(37).scaleb(-9)


def test_the_unit_price_is_that_of_the_tier_and_the_length() -> None:
    long, flex = Price(input=4_000_000, output=2_000_000), Price(input=500_000, output=1_000_000)
    tiers = (PriceTier(variant="flex", price=flex), PriceTier(above=1_000, price=long))
    whole = replace(PRICE, tiers=tiers)
    row = failed_over().attempt_rows[1] | {"output_tokens": 40, "latency_s": 1.0}
    for changes, rate in (
        ({"service_tier": "flex", "input_tokens": 10, "cost_nano_usd": 45}, 500_000),
        ({"input_tokens": 2_000, "cost_nano_usd": 8_080}, 4_000_000),
    ):
        read, _ = focus_rows([row | changes], lambda provider, model: whole)
        assert read["ListUnitPrice"] == Decimal(rate).scaleb(-15)


def test_what_was_billed_without_tokens_is_one_request() -> None:
    row = failed_over().attempt_rows[0] | {"status": "unknown", "cost_nano_usd": 77}
    (one,) = focus_rows([row], no_price)
    assert (one["ConsumedUnit"], one["ConsumedQuantity"], one["x_CostNanoUsd"]) == ("Requests", 1, 77)


def test_focus_is_written_as_parquet_with_exact_money(ledger: str, tmp_path: Path) -> None:
    export_rows(ledger, tmp_path / "focus.parquet", focus=True)
    table = pq.read_table(tmp_path / "focus.parquet")
    assert sum(table["BilledCost"].to_pylist()) == Decimal(read_report(ledger, by="").totals.cost).scaleb(-9)
    assert str(table.schema.field("BilledCost").type) == "decimal128(28, 9)"


def test_a_gateways_own_ledger_can_be_exported() -> None:
    here = scene({"a": ["yes"]})
    ask("sync", here.gateway)
    (line,) = text_of(here.gateway.services.ledger, format="jsonl").splitlines()
    assert json.loads(line)["cost_nano_usd"] == here.gateway.decisions[-1].cost


# ---------------------------------------------------------------- files and memory


def test_memory_does_not_grow_with_the_rows(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmgate_plugins.insight.export._AT_ONCE", 50)

    def peak(until: float) -> int:
        tracemalloc.start()
        with (tmp_path / "out.jsonl").open("w") as file:
            export_rows(ledger, file, format="jsonl", until=until)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(BEGIN + 86_400.0)  # everything is imported and compiled once
    few, many = peak(BEGIN + 3 * 86_400.0), peak(BEGIN + 30 * 86_400.0)
    assert many < few + 256 * 1024


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    target.write_text("what was there before")
    with pytest.raises(ConfigurationError):
        export_rows("sqlite:///no-such-file.db", target)
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "rows.txt"}, "the format does not show"),
        ({"to": io.StringIO(), "format": "parquet"}, "written to a path"),
        ({"to": "rows.csv", "what": "calls", "focus": True}, "of attempts, not of calls"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        export_rows(failed_over().as_ledger(), **options)


# ---------------------------------------------------------------- command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(llmgate, ["export", *arguments])


def test_the_command_writes_to_a_file_or_to_stdout(ledger: str, tmp_path: Path) -> None:
    told = run("attempts", "--ledger", ledger, "--where", "team=search", "--until", "2026-11-03")
    assert all(json.loads(line)["team"] == "search" for line in told.output.splitlines())
    file = tmp_path / "calls.csv"
    told = run("calls", "--ledger", ledger, "-o", str(file))
    assert told.output.replace("\n", "") == f"{file}: {len(file.read_text().splitlines()) - 1} rows"
    assert run("attempts", "--ledger", ledger, "--format", "parquet").exit_code == 2
    assert run("calls", "--ledger", ledger, "--focus").exit_code == 2
    assert run("attempts", "--ledger", ledger, "-o", str(tmp_path / "x.txt")).exit_code == 2


def test_a_reader_that_leaves_early_ends_it_quietly(ledger: str) -> None:
    command = f"{sys.executable} -m llmgate_plugins.cli export attempts --ledger {ledger} | head -1"
    told = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert json.loads(told.stdout)["status"]
    assert "Traceback" not in told.stderr


def test_pipes_and_links_are_written_and_not_replaced(ledger: str, tmp_path: Path) -> None:
    pipe, link, meant = tmp_path / "pipe.csv", tmp_path / "link.csv", tmp_path / "meant.csv"
    os.mkfifo(pipe)
    link.symlink_to(meant)
    with ThreadPoolExecutor(1) as thread:
        read = thread.submit(pipe.read_text)
        number = export_rows(ledger, pipe)
        lines = read.result(30).splitlines()
    assert len(lines) == number + 1
    assert pipe.is_fifo()
    export_rows(ledger, link)
    assert link.is_symlink()
    assert meant.read_text().splitlines() == lines


@pytest.mark.parametrize("command", [["export", "attempts", "-o"], ["report", "--parquet"]])
def test_what_cannot_be_written_is_named(ledger: str, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "nowhere" / "rows.parquet"
    told = CliRunner().invoke(llmgate, [*command, str(path), "--ledger", ledger])
    assert told.exit_code == 1
    assert " ".join(told.stderr.split()) == f"Error: {path} cannot be written: No such file or directory"


def test_who_interrupts_it_sees_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "books.db"
    make_rows(path, 20_000)
    for lines in (1, 50, 3_000):
        command = [sys.executable, "-m", "llmgate_plugins.cli", "export", "attempts", "--ledger", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for _ in range(lines):
                running.stdout.readline()
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
        assert (running.returncode, said) == (130, "Interrupted.\n")
