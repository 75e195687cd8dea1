"""`llmgate explain`: a past call by its id, and a request that is not made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.faces import ask
from support.gateways import deployment, scene

from llmgate_plugins import Context, DecisionRecord
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.ledger import SqlLedger
from llmgate_plugins.plugins import Failover, LedgerAccounting, Policies
from llmgate_plugins.testing import Fault

CONFIG = """
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/NOT_SET}
    model_info: {id: openai-us, region: us}
  - model_name: fast
    litellm_params: {model: mistral/mistral-small-latest, api_key: os.environ/NOT_SET}
    model_info: {id: mistral-eu, region: eu}
policies:
  default: {prefer: cheapest}
  eu-support: {require: {region: eu}, prefer: cheapest, version: "3"}
rules:
  - {when: {team: search}, use: eu-support}
budgets:
  - {scope: tenant=poor, limit: 0.000001 USD/day}
ledger: sqlite:///books.db
"""


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(llmgate, ["explain", *words])
    assert done.exit_code == code, done.output
    if "--json" not in words and code != 2:
        assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("Call"))
    return done


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llmgate.yaml").write_text(CONFIG)
    return tmp_path


def asked(folder: Path, *requests: Any) -> str:
    file = folder / "request.json"
    file.write_text(json.dumps(requests[0] if len(requests) == 1 else requests))
    return str(file)


def calls(url: str, number: int) -> list[DecisionRecord]:
    """A few calls in the books, each with a failed attempt and a deployment that was dropped."""
    group = [deployment("us", region="us"), deployment("eu-a", region="eu"), deployment("eu-b", region="eu")]
    policies = Policies({"default": {"prefer": "cheapest", "version": "7"}})
    script = {"us": [], "eu-a": [Fault("overloaded")] * number, "eu-b": ["yes"] * number}
    here = scene(script, policies, Failover(), LedgerAccounting(), deployments=group)
    object.__setattr__(here.gateway.services, "ledger", SqlLedger(url))
    made = [
        ask("sync", here.gateway, context=Context(team="search", region="eu")).record for _ in range(number)
    ]
    here.gateway.close()
    return made


def test_a_past_call_is_told_from_the_books_by_the_beginning_of_its_id(folder: Path) -> None:
    (made,) = calls(f"sqlite:///{folder}/books.db", 1)
    said = " ".join(run(made.call_id[:12]).stdout.split())
    assert "for: team=search, region=eu" in said
    assert "policy default version 7" in said
    assert "fast: 3 candidates, 2 eligible, by Policies" in said
    assert "- us region (ContextConstraints)" in said
    assert "1. eu-a: overloaded" in said
    assert "2. eu-b (next deployment): success" in said
    plain = json.loads(run(made.call_id, "--json").stdout)
    assert plain == json.loads(json.dumps(made.to_dict()))


def test_an_id_that_is_not_there_or_not_enough_of_one_is_said(folder: Path) -> None:
    made = calls(f"sqlite:///{folder}/books.db", 3)
    said = " ".join(run("nope", code=1).output.split())
    assert "nothing is known of a call 'nope': the ledger has none" in said
    output = run(made[0].call_id[:8], code=1).output
    assert "several calls begin with" in output
    assert made[2].call_id in output


def test_a_request_is_foretold_and_nothing_is_made(folder: Path) -> None:
    file = asked(
        folder,
        {"model": "fast", "prompt": "hello", "context": {"team": "search"}, "tags": {"job": "nightly"}},
        {"model": "fast", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5},
    )
    said = run("--request", file).stdout
    assert said.startswith("Would be sent to mistral-eu.\n")
    assert "policy eu-support version 3, by rule 1" in said
    assert "region (Policies)" in said
    assert "Would be sent to openai-us." in said or said.count("Would be sent to mistral-eu.") == 2
    assert "Not known: This process has made no calls" in said
    assert {path.name for path in folder.iterdir()} == {"llmgate.yaml", "request.json"}


def test_the_exit_code_says_whether_anybody_may_serve_it(folder: Path) -> None:
    poor = {"model": "fast", "prompt": "?", "context": {"tenant": "poor"}}
    said = " ".join(run("--request", asked(folder, poor), code=1).stdout.split())
    assert "Nobody may serve it." in said
    assert "Limits would deny: budget (the budget of 0.0000010 USD per day (UTC) of tenant 'poor'" in said
    nowhere = {"model": "fast", "prompt": "?", "context": {"region": "moon"}}
    plain = json.loads(run("--request", asked(folder, nowhere), "--json", code=1).stdout)
    assert (plain["eligible"], plain["first"]) == (False, None)
    assert plain["decision"]["selections"][0]["reasons"] == {"region": 2}
    denied = {"model": "fast", "prompt": "?", "context": {"policy": "none such"}}
    said = run("--request", asked(folder, denied), code=1).stdout
    assert said.startswith("Would be denied.\n")
    assert "  denied by Policies | " in said


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("[]", "asks for nothing"),
        ("{prompt: hi}", "at least a model"),
        ("{model: fast, context: {colour: red}}", "context has no 'colour'"),
        ("{model: fast, context: {featur: red}}", "context has no 'featur'; did you mean feature?"),
        ("{model: fast, contxt: {feature: red}}", "a request has no 'contxt'; did you mean context?"),
        ("{model: fast, context: {team: 5}}", "team of context must be a text"),
        ("{model: fast, context: {priority: high}}", "priority of context must be a number from 0 to 3"),
        ("{model: fast, tags: 5}", "tags must be a mapping"),
        ("{model: fast, messages: [{content: hi}]}", "a message needs a role"),
    ],
)
def test_what_is_no_request_is_a_mistake_of_usage(folder: Path, request_: str, says: str) -> None:
    file = folder / "request.yaml"
    file.write_text(request_)
    assert says in " ".join(run("--request", str(file), code=2).output.split())


def test_it_wants_a_call_or_a_request(folder: Path) -> None:
    assert "give the id of a past call" in run(code=2).output
    assert (
        "give the id of a past call" in run("x", "--request", asked(folder, {"model": "fast"}), code=2).output
    )


def test_of_a_model_that_is_none_nothing_is_said_to_be_unknown(folder: Path) -> None:
    said = run("--request", asked(folder, {"model": "fats"}), code=1).stdout
    assert "unknown model 'fats'; did you mean 'fast'?" in said
    assert "Not known" not in said
