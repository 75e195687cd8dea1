"""`llmgate experiments`: tables that fit a terminal, data for machines, a canary's course."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmgate_plugins import Context, Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.testing import ScriptedProvider

CONFIG = """\
model_list:
  - {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: k}, model_info: {id: small}}
  - {model_name: strong, litellm_params: {model: openai/gpt-4o, api_key: k}, model_info: {id: large}}
experiments:
  stronger:
    when: {alias: fast}
    arms: [{name: control, weight: 0.5}, {name: a-candidate-with-a-long-name, weight: 0.5, model: strong}]
"""


def made(folder: Path, written: str, calls: int = 40, **provider: Any) -> str:
    """A configuration whose books have some calls; its name."""
    file = folder / "llmgate.yaml"
    file.write_text(f"{written}ledger: sqlite:///{folder}/books.db\n")
    script = {"small": ["hello"] * calls, "large": ["hello there"] * calls} | provider
    gateway = Gateway.from_config(file, transport=ScriptedProvider(script, default=None))
    for at in range(calls):
        gateway.complete("fast", "hi", context=Context(user=f"u{at}"), call_id=f"c{at}")
        gateway.feedback(f"c{at}", at % 2)
    gateway.close()
    return str(file)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("books"), CONFIG)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(llmgate, ["experiments", *arguments])


@pytest.mark.parametrize("more", [(), ("--once",), ("stronger", "--detect", "0.2", "--confidence", "99%")])
def test_tables_fit_in_eighty_columns(file: str, more: tuple[str, ...]) -> None:
    told = run("--config", file, *more)
    assert told.exit_code == 0, told.output
    assert max(map(len, told.output.splitlines())) <= 80
    for said in ("Experiment stronger", "control", "against control", "too few", "80 of 100"):
        assert said in told.output
    wanted = "for this one look" if "--once" in more else "however often you look"
    assert wanted in " ".join(told.output.split())


def test_machines_get_it_all(file: str) -> None:
    (told,) = json.loads(run("--config", file, "--json").output)
    assert told["name"] == "stronger"
    assert sum(arm["calls"] for arm in told["arms"]) == 40
    assert told["arms"][1]["differences"]["cost_usd"]["verdict"] in ("worse", "too few")


def test_nothing_is_said_to_be_nothing(file: str) -> None:
    assert (
        run("--config", file, "another").output
        == "No calls of an experiment are in the books for 'another'.\n"
    )


@pytest.mark.parametrize("wrong", [("--detect", "much"), ("--since", "whenever"), ("--confidence", "2")])
def test_a_wrong_option_is_told(file: str, wrong: tuple[str, str]) -> None:
    told = run("--config", file, *wrong)
    assert told.exit_code == 2
    assert "Error" in told.output


def test_a_canarys_course_is_read_from_the_state_that_processes_share(
    tmp_path: Path, redis_server: Any
) -> None:
    canary = CONFIG.replace("weight: 0.5, ", "").replace(", weight: 0.5", "")
    canary += f"    stages: [{{share: 50%, for: 1h}}]\nstate: {redis_server.url}\n"
    told = run("--config", made(tmp_path, canary), "--json")
    (found,) = json.loads(told.output)
    assert found["canary"]["status"] == "running"
    assert found["canary"]["share"] == 0.5
    assert "stage 1 of 1" in " ".join(run("--config", str(tmp_path / "llmgate.yaml")).output.split())
