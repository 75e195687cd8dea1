"""Prompts and answers: nowhere in the books by default, and where they are asked for without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.faces import ask, every_face, every_stream
from support.gateways import deployment

from llmgate_plugins import ConfigurationError, Context, Gateway
from llmgate_plugins.ledger import MemoryLedger, Retention, SqlLedger
from llmgate_plugins.plugins import Contents, LedgerAccounting, Policies
from llmgate_plugins.secrets import Secret
from llmgate_plugins.testing import ScriptedProvider, Stream

DAY = 86_400.0
ASKED, ANSWERED = "what-nobody-may-keep", "and-its-answer"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = SqlLedger(f"sqlite:///{tmp_path}/books.db")
    yield ledger
    ledger.close()


def gateway(ledger: Any, *plugins: object, answer: Any = ANSWERED) -> Gateway:
    provider = ScriptedProvider({"a": [answer]}, default=None)
    return Gateway([deployment("a")], transport=provider, plugins=plugins, ledger=ledger)


@every_face
def test_nothing_of_a_prompt_or_an_answer_is_in_the_file_by_default(
    face: str, ledger: SqlLedger, tmp_path: Path
) -> None:
    told = ask(face, gateway(ledger), prompt=ASKED)
    assert told.text == ANSWERED
    assert len(ledger.calls()) == 1
    ledger.close()
    written = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert b"success" in written
    assert ASKED.encode() not in written
    assert ANSWERED.encode() not in written


@every_face
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_where_it_is_asked_for_both_are_stored_once(face: str, kind: str, ledger: SqlLedger) -> None:
    books: Any = MemoryLedger() if kind == "memory" else ledger
    ask(face, gateway(books, Contents()), prompt=ASKED, context=Context(tenant="acme"))
    (row,) = books.contents()
    assert row["call_id"] == books.calls()[0]["call_id"]
    assert (row["tenant"], row["messages"]) == ("acme", [{"role": "user", "content": ASKED}])
    assert (row["answer"]["content"], row["answer"]["finish_reason"]) == (ANSWERED, "stop")


def test_keys_that_this_process_uses_are_masked(ledger: SqlLedger) -> None:
    key = "sk-canary-0123456789abcdef"
    assert Secret(key).reveal() == key
    ask("sync", gateway(ledger, Contents(), answer=f"it is {key}"), prompt=f"My key is {key}.")
    (row,) = ledger.contents()
    assert key not in str(row)
    assert row["messages"][0]["content"].startswith("My key is ")


def test_only_the_named_tenants_and_policies_are_stored(ledger: SqlLedger) -> None:
    rules = Policies({"audited": {}, "default": {}})
    served = gateway(ledger, rules, Contents(tenants=["acme"], policies=["audited"]))
    for name, context in {
        "neither": Context(tenant="other"),
        "tenant": Context(tenant="acme"),
        "policy": Context(policy="audited"),
    }.items():
        ask("sync", served, prompt=name, context=context)
    assert [row["messages"][0]["content"] for row in ledger.contents()] == ["tenant", "policy"]


@every_stream
def test_a_stream_that_was_left_keeps_its_question_only(face: str, ledger: SqlLedger) -> None:
    served = gateway(ledger, Contents(), answer=Stream("one", "two", "three"))
    ask(face, served, prompt=ASKED, take=1)
    (row,) = ledger.contents()
    assert (row["messages"][0]["content"], row["answer"]) == (ASKED, None)


def test_the_configuration_says_how_long_and_how_safely(tmp_path: Path) -> None:
    entry = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "k"}}
    section = {
        "url": f"sqlite:///{tmp_path}/books.db",
        "durability": "full",
        "outbox": f"{tmp_path}/spool",
        "required": True,
        "retention": {"default": "90d", "tenants": {"acme": "30d"}},
        "content_retention": {"default": "7d"},
    }
    with Gateway.from_config({"model_list": [entry], "ledger": section}) as built:
        books: Any = built.services.ledger
        assert books._retention == Retention(default=90 * DAY, tenants={"acme": 30 * DAY})
        assert books._content_retention == Retention(default=7 * DAY)
        assert (books._database.durability, books._writer.outbox.directory) == ("full", tmp_path / "spool")
        (accounting,) = [one for _, one in built.plugins if isinstance(one, LedgerAccounting)]
        assert accounting._required


def test_nobody_can_insist_on_rows_that_nobody_waits_for(tmp_path: Path) -> None:
    section = {"url": f"sqlite:///{tmp_path}/books.db", "durability": "queued", "required": True}
    with pytest.raises(ConfigurationError, match="nobody waits to know"):
        Gateway.from_config({"model_list": [], "ledger": section})


def test_the_configuration_says_who(tmp_path: Path) -> None:
    entry = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "k"}}
    for wanted, expected in ((False, 0), (True, 1), ({"tenants": ["acme"]}, 1)):
        section = {"url": f"sqlite:///{tmp_path}/books.db", "store_content": wanted}
        with Gateway.from_config({"model_list": [entry], "ledger": section}) as built:
            found = [plugin for _, plugin in built.plugins if isinstance(plugin, Contents)]
            assert len(found) == expected
