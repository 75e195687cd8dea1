"""`llmgate ledger`: status, upgrade, reconcile, recover, purge."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.books import answer, intent, record, settlement
from support.servers import RedisServer
from support.version1 import write_version_1

from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.context import Context
from llmgate_plugins.ledger import SqlLedger, labels_of
from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.schema import SCHEMA_VERSION

MODEL = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "k"}}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return f"{request.getfixturevalue('postgres_url')}?outbox={tmp_path}/outbox"


def invoked(*words: str, code: int) -> Result:
    done = CliRunner().invoke(llmgate, ["ledger", *words])
    assert done.exit_code == code, done.output
    return done


def said(*words: str, code: int = 0) -> str:
    """What it prints, which fits into 80 columns but for long names, in one line."""
    output = invoked(*words, code=code).output
    assert all(len(line) <= 80 or max(map(len, line.split())) > 40 for line in output.splitlines())
    return " ".join(output.split())


def told(*words: str, code: int = 0) -> Any:
    return json.loads(invoked(*words, "--json", code=code).stdout)


def broken(url: str) -> None:
    """Books with everything in them that can differ, as of now: one intent's time is over, others' is not."""
    now = time.time()
    ledger = SqlLedger(url)
    who = labels_of(Context(tenant="acme", team="search"), {"job": "x"})
    for name in ("good", "wrong sum", "lost attempt"):
        answer(ledger.open_attempt(intent(name, at=now - 50)))
        answer(ledger.settle_attempt(name, 1, settlement(cost=50)))
        answer(ledger.close_call(record(name, costs=(50,), at=now - 50)))
    answer(ledger.open_attempt(intent("crashed", at=now - 9_000, labels=who, expires=now - 8_000)))
    answer(ledger.open_attempt(intent("under way", at=now - 9_000, expires=now + 3600)))
    answer(ledger.open_attempt(intent("not ended", at=now - 5, expires=now + 3600)))
    answer(ledger.settle_attempt("not ended", 1, settlement()))
    with ledger.changing() as connection:
        connection.exec_driver_sql("UPDATE calls SET cost_nano_usd = 40 WHERE call_id = 'wrong sum'")
        connection.exec_driver_sql("DELETE FROM attempts WHERE call_id = 'lost attempt'")
    ledger.close()


def test_books_that_agree_are_said_to(url: str) -> None:
    ledger = SqlLedger(url)
    for number, status in ((1, "skipped"), (2, "success")):
        answer(ledger.open_attempt(intent(number=number, at=time.time())))
        cost = 50 if status == "success" else 0
        usage = {} if cost else {"usage": settlement().usage.__class__()}
        answer(ledger.settle_attempt("c1", number, settlement(status, cost, **usage)))
    answer(ledger.close_call(record(costs=(50,), at=time.time())))
    ledger.close()
    assert "attempts and calls agree" in said("reconcile", url)
    assert told("reconcile", url) == {"ledger": ledger.name, "agree": True, "differences": []}


def test_every_difference_is_reported_and_repaired_on_demand_once(url: str) -> None:
    broken(url)
    found = told("reconcile", url, code=1)
    kinds = {(one["kind"], one["call_id"], one["books"], one["other"]) for one in found["differences"]}
    assert kinds == {
        ("open", "crashed", 70, 0),
        ("sum", "wrong sum", 50, 40),
        ("no_attempts", "lost attempt", 0, 1),
    }
    output = said("reconcile", url, code=1)
    assert "sums differ" in output
    assert "3 differences, 0 repaired" in output
    repaired = told("reconcile", url, "--repair", code=1)["differences"]
    assert {(one["kind"], one["call_id"]) for one in repaired if one["repaired"]} == {
        ("open", "crashed"),
        ("no_call", "crashed"),
        ("sum", "wrong sum"),
    }
    left = told("reconcile", url, code=1)["differences"]
    assert [(one["kind"], one["call_id"]) for one in left] == [("no_attempts", "lost attempt")]
    ledger = SqlLedger(url)
    calls = {row["call_id"]: row for row in ledger.calls()}
    assert calls["wrong sum"]["cost_nano_usd"] == 50
    crashed = calls["crashed"]
    assert (crashed["status"], crashed["cost_nano_usd"], crashed["attempts"]) == ("unknown", 70, 1)
    assert (crashed["team"], crashed["tags"], crashed["first_deployment"]) == (
        "search",
        {"job": "x"},
        "openai-eu",
    )
    assert {"under way", "not ended"}.isdisjoint(calls)
    ledger.close()


def test_status_says_what_stands_in_the_books_and_what_waits_to_be_done(url: str) -> None:
    broken(url)
    found = told("status", url)
    assert found["version"] == found["current"] == SCHEMA_VERSION
    assert (found["attempts"], found["calls"]) == (5, 3)
    assert (found["open"], found["expired"], found["cost_nano_usd"], found["waiting"]) == (2, 1, 150, 0)
    output = said("status", url)
    assert f"version {SCHEMA_VERSION}, current" in output
    assert "1 (llmgate ledger recover)" in output


def test_recover_books_what_dead_processes_left(url: str) -> None:
    broken(url)
    assert told("recover", url)["recovered"] == 1
    assert "0 intents recovered" in said("recover", url)
    assert told("recover", url, "--older-than", "0")["recovered"] == 1, "by age, whatever it says"


def test_an_old_ledger_is_upgraded_by_the_command_that_its_refusal_names(url: str) -> None:
    database = open_database(url)
    with database.connect(writing=True) as connection, connection.begin():
        write_version_1(connection)
    assert told("status", url)["version"] == 1
    assert "llmgate ledger upgrade" in said("status", url)
    assert "llmgate ledger upgrade" in said("reconcile", url, code=1)
    done = told("upgrade", url)
    assert (done["before"], done["after"]) == (1, SCHEMA_VERSION)
    assert (done["copy"] is not None) == url.startswith("sqlite")
    assert "nothing to do" in said("upgrade", url)
    database.engine.dispose()


@pytest.mark.parametrize("command", ["reconcile", "recover", "purge"])
def test_books_that_are_not_there_are_not_made_and_not_said_to_agree(url: str, command: str) -> None:
    assert told("status", url)["version"] is None
    assert "there is no ledger" in said(command, url, code=2)
    assert told("status", url)["version"] is None
    assert told("upgrade", url)["before"] is None
    assert told(command, url)


def test_looking_at_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    for command, code in (("status", 0), ("reconcile", 2), ("recover", 2), ("purge", 2)):
        invoked(command, f"sqlite:///{tmp_path}/typed_wrong.db", code=code)
    assert list(tmp_path.iterdir()) == []


def test_purge_follows_the_configuration_or_what_is_said(url: str, tmp_path: Path) -> None:
    ledger = SqlLedger(url)
    day = 86_400
    for tenant, days in (("acme", 2), ("acme", 40), ("other", 40), ("other", 100)):
        at = time.time() - days * day
        answer(ledger.close_call(record(f"{tenant}{days}", (), Context(tenant=tenant), at=at)))
    ledger.close()
    file = tmp_path / "llmgate.yaml"
    section = {"url": url, "retention": {"default": "90d", "tenants": {"acme": "30d"}}}
    file.write_text(json.dumps({"model_list": [MODEL], "ledger": section}))
    assert told("purge", str(file))["removed"] == 2
    assert told("purge", url)["removed"] == 0, "an address alone keeps rows for ever"
    assert "1 row removed" in said("purge", url, "--older-than", "30d")


def test_a_file_can_be_named_and_books_in_memory_are_refused(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/books.db")
    answer(ledger.open_attempt(intent()))
    ledger.close()
    assert told("status", f"{tmp_path}/books.db")["attempts"] == 1
    file = tmp_path / "llmgate.yaml"
    file.write_text(json.dumps({"model_list": [MODEL]}))
    assert "in memory" in said("status", str(file), code=2)
    with sqlite3.connect(tmp_path / "books.db") as connection:
        assert connection.execute("SELECT status FROM attempts").fetchone() == ("intent",)
    connection.close()


def test_counters_of_a_shared_state_are_compared_with_the_books(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    url = f"sqlite:///{tmp_path}/books.db"
    file = tmp_path / "llmgate.yaml"
    limits = [{"scope": "team", "limit": "5 USD/day"}, {"scope": "global", "limit": "50 USD/month"}]
    file.write_text(
        json.dumps({"model_list": [MODEL], "ledger": url, "state": redis_server.url, "budgets": limits})
    )
    ledger = SqlLedger(url)
    context = Context(team="search")
    answer(ledger.open_attempt(intent(at=time.time(), labels=labels_of(context))))
    answer(ledger.settle_attempt("c1", 1, settlement(cost=70)))
    answer(ledger.close_call(record(costs=(70,), at=time.time(), context=context)))
    ledger.close()
    found = told("reconcile", str(file), code=1)["differences"]
    assert [(one["kind"], one["column"], one["books"], one["other"]) for one in found] == [
        ("counter", "budget", 70, 0)
    ] * 2
    assert all(one["repaired"] for one in told("reconcile", str(file), "--repair")["differences"])
    assert told("reconcile", str(file))["differences"] == []
