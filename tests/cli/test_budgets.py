"""What `llmgate budgets` tells: spent, held and left, of everybody who called, at 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.servers import redis_server  # noqa: F401 - a fixture

from llmgate_plugins import Context, Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.testing import ScriptedProvider

FILE = """\
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/NOT_SET}
prices: {openai/gpt-4o-mini: {input: 1, output: 2}}
state: STATE
ledger: sqlite:///books.db
budgets:
  - {scope: global, limit: 500 USD/month, zone: Europe/Berlin}
  - {scope: team, limit: 0.001 USD/day}
limits:
  - {scope: user, requests: 10/day, tokens: 100k/day, concurrency: 5}
  - {scope: "tag:job", requests: 2/day, shadow: true}
  - {scope: tenant=acme, requests: 5/day}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(place: Path, state: str = "memory") -> None:
    (place / "llmgate.yaml").write_text(FILE.replace("STATE", state))
    provider = ScriptedProvider(default="hello to you")
    with Gateway.from_config("llmgate.yaml", transport=provider, check_secrets=False) as gateway:
        for number in range(4):
            context = Context(team="search" if number else "mail", user="ada")
            gateway.complete("fast", "hi", context=context, tags={"job": "nightly"}, max_tokens=5)


def told(*arguments: str) -> str:
    result = CliRunner().invoke(llmgate, ["budgets", *arguments])
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
    return result.output


def rows(*arguments: str) -> dict[str, Any]:
    return {row["key"]: row for row in json.loads(told("--json", *arguments))["limits"]}


def test_looking_makes_no_books(place: Path) -> None:
    (place / "llmgate.yaml").write_text(FILE.replace("STATE", "memory"))
    result = CliRunner().invoke(llmgate, ["budgets"])
    assert result.exit_code == 2
    assert "there is no ledger" in result.stderr
    assert [one.name for one in place.iterdir()] == ["llmgate.yaml"]


def test_what_stands_in_the_memory_of_another_process_is_not_said_to_be_nothing(place: Path) -> None:
    (place / "llmgate.yaml").write_text(
        FILE.replace("STATE", "memory").replace("sqlite:///books.db", "memory")
    )
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(llmgate, ["budgets", *arguments])
        assert (result.exit_code, result.stdout) == (2, "")
        assert "keeps its books in memory" in result.stderr


def test_every_limit_is_told_with_everybody_who_used_it(place: Path) -> None:
    written(place)
    text = told()
    assert "Budget of 500 USD per month (Europe/Berlin) for all calls\n  resets 20" in text
    assert "Budget of 0.0010 USD per day (UTC) for each team" in text
    assert "Limit of 2 requests per day (UTC) for each tag:job, in shadow" in text
    assert "nightly  4 requests     -  [##########] 200%  would refuse" in text
    assert "ada   4 requests     -  [####......]  40%" in text
    assert "1 limit not shown: nothing to tell of." in text  # nobody is calling at this moment


def test_the_numbers_are_those_of_the_books(place: Path) -> None:
    written(place)
    found = rows()
    teams = {row["scope"]["team"]: row["spent"] for row in found.values() if "team" in row["scope"]}
    assert teams["search"] == 3 * teams["mail"] > 0
    assert next(row for key, row in found.items() if "global" in key)["spent"] == 4 * teams["mail"]
    assert next(row for key, row in found.items() if key.startswith("requests:tenant"))["spent"] == 0
    shadow = next(row for row in found.values() if row["mode"] == "shadow")
    assert (shadow["spent"], shadow["share"]) == (4, 2.0)


def test_a_shared_state_is_asked_itself(place: Path, redis_server: Any) -> None:  # noqa: F811
    written(place, redis_server.url)
    (row,) = [one for one in rows("--scope", "user=ada").values() if one["kind"] == "requests"]
    assert (row["spent"], row["held"]) == (4, 0)


def test_one_scope_or_one_value_can_be_picked(place: Path) -> None:
    written(place)
    assert {row["scope"]["team"] for row in rows("-s", "team").values()} == {"search", "mail"}
    assert {row["scope"]["team"] for row in rows("-s", "team=mail").values()} == {"mail"}
    assert all(not row["scope"] for row in rows("-s", "global").values())


def test_a_file_without_limits_says_so(place: Path) -> None:
    (place / "llmgate.yaml").write_text(FILE.partition("state:")[0])
    assert "llmgate.yaml has no limits" in told()


def test_a_name_that_somebody_else_chose_moves_no_cursor_and_an_empty_one_is_not_all(place: Path) -> None:
    (place / "llmgate.yaml").write_text(FILE.replace("STATE", "memory"))
    provider = ScriptedProvider(default="hello to you")
    with Gateway.from_config("llmgate.yaml", transport=provider, check_secrets=False) as gateway:
        for team, job in (("", "a\x1b[2Jb\nc"), (None, "quiet")):
            gateway.complete("fast", "hi", context=Context(team=team), tags={"job": job}, max_tokens=5)
    text = told("--scope", "team") + told("--scope", "tag:job")
    assert "a?[2Jb?c" in text
    assert "\x1b" not in text
    assert '\n  ""  ' in text
    assert "\n  (none)  " in text
