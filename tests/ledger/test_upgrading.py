"""Tables of an older version are brought up to date without loss; those of a newer one are left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from support.books import answer, intent, record, settlement
from support.version1 import write_version_1
from support.writers import processes

import llmgate_plugins.ledger
from llmgate_plugins.errors import ConfigurationError, StorageError
from llmgate_plugins.ledger import SqlLedger, open_ledger
from llmgate_plugins.ledger.database import Database
from llmgate_plugins.ledger.opening import open_database
from llmgate_plugins.ledger.schema import REVISION, SCHEMA_VERSION, attempts, metadata
from llmgate_plugins.ledger.upgrading import prepare, upgrade, version_of


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/books.db"
    return f"{request.getfixturevalue('postgres_url')}?outbox={tmp_path}/outbox"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.engine.dispose()


def old(database: Database) -> None:
    with database.connect(writing=True) as connection, connection.begin():
        write_version_1(connection)


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return compare_metadata(context, metadata)


def test_tables_of_version_1_are_refused_with_the_command_that_helps(database: Database, url: str) -> None:
    old(database)
    with pytest.raises(StorageError, match="version 1; this llmgate has version 3: run `llmgate ledger"):
        open_ledger(url)
    assert version_of(database) == 1


def test_an_upgrade_keeps_every_row_and_gives_the_tables_of_today(database: Database, url: str) -> None:
    old(database)
    done = upgrade(database)
    assert (done.before, done.after) == (1, SCHEMA_VERSION)
    with database.connect() as connection:
        assert differences(connection) == []
    ledger = SqlLedger(url)
    rows, calls = ledger.attempts(), ledger.calls()
    assert [row["call_id"] for row in rows] == [f"old{number}" for number in range(10)]
    assert {row["cost_nano_usd"] for row in rows[:9]} == {50}
    assert (rows[0]["team"], rows[0]["tags"]) == ("search", {"ticket": "T-1"})
    assert (rows[0]["key_id"], rows[0]["late"], rows[0]["cache_write_1h_tokens"]) == (None, False, 0)
    assert (len(calls), calls[0]["served_model"], calls[0]["audio_input_tokens"]) == (9, None, 0)
    assert answer(ledger.settle_attempt("old9", 1, settlement(cost=40))) is True
    answer(ledger.close_call(record("old9", costs=(40,))))
    used = answer(ledger.standing({"team": "search"}, since=0.0, until=2_000.0)).used
    assert used == ((0.0, 10, 170, 490),)
    ledger.close()


def test_a_file_is_copied_before_it_is_changed(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/books.db")
    old(database)
    copy = upgrade(database).copy
    assert copy is not None
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT version FROM llmgate_schema").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (10,)
    connection.close()
    database.engine.dispose()


def test_an_upgrade_that_fails_changes_nothing_and_can_be_tried_again(database: Database) -> None:
    old(database)
    with (
        mock.patch("alembic.op.create_table", side_effect=RuntimeError("the power goes")),
        pytest.raises(RuntimeError, match="the power goes"),
    ):
        upgrade(database)
    assert version_of(database) == 1
    with database.connect() as connection:
        assert "late" not in {column["name"] for column in inspect(connection).get_columns("attempts")}
    assert upgrade(database).after == SCHEMA_VERSION


def test_a_new_database_has_the_tables_that_all_steps_together_make(database: Database) -> None:
    prepare(database)
    with database.connect() as connection:
        assert differences(connection) == []
        assert MigrationContext.configure(connection).get_current_revision() == REVISION
    assert upgrade(database).before == SCHEMA_VERSION


def test_an_upgrade_of_an_empty_database_makes_the_tables(database: Database) -> None:
    assert upgrade(database).before is None
    assert version_of(database) == SCHEMA_VERSION


def test_newer_tables_are_left_alone(database: Database, url: str) -> None:
    prepare(database)
    with database.connect(writing=True) as connection, connection.begin():
        connection.execute(text("UPDATE llmgate_schema SET version = 99"))
    for way in (lambda: upgrade(database), lambda: open_ledger(url)):
        with pytest.raises(StorageError, match=r"version 99.*or a newer one"):
            way()


def test_the_steps_stand_in_the_package_and_lead_to_this_version() -> None:
    folder = Path(llmgate_plugins.ledger.__file__).parent / "migrations"
    steps = ScriptDirectory(str(folder))
    assert [step.revision for step in steps.walk_revisions()] == [REVISION, "0002", "0001"]


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"postgresql://127\.0\.0\.1:1/books") as caught:
        open_ledger("postgresql://somebody:canary@127.0.0.1:1/books")
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(open_database("postgresql://somebody:canary@127.0.0.1:1/books"))


def first_moment(url: str, name: int, together: Any) -> None:
    together.wait(60)
    ledger = open_ledger(url)
    for number in range(20):
        answer(ledger.open_attempt(intent(f"{name}-{number}")))
        answer(ledger.settle_attempt(f"{name}-{number}", 1, settlement()))
    ledger.close()


def test_many_processes_may_be_the_first(url: str) -> None:
    context = processes()
    together = context.Barrier(6)
    workers = [context.Process(target=first_moment, args=(url, name, together)) for name in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 6
    ledger = SqlLedger(url)
    with ledger.reading() as connection:
        statuses = connection.execute(attempts.select().with_only_columns(attempts.c.status)).scalars().all()
    assert statuses == ["success"] * 120
    ledger.close()
