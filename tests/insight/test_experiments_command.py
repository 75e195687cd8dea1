"""`llmgate experiments`: tables that fit a terminal, data for machines, a canary's course."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmgate_plugins import Context, Gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.testing import Fault, ScriptedProvider, VirtualClock, VirtualSleeper

EXPERIMENT = """\
model_list:
  - {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: k}, model_info: {id: small}}
  - {model_name: strong, litellm_params: {model: openai/gpt-4o, api_key: k}, model_info: {id: large}}
experiments:
  stronger:
    when: {alias: fast}
"""
CONFIG = (
    EXPERIMENT
    + """\
    arms: [{name: control, weight: 0.5}, {name: a-candidate-with-a-long-name, weight: 0.5, model: strong}]
"""
)


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
    told = run("--config", file, "stronger", "--since", "2020-01-01", "--until", "2020-01-02").output
    assert told == "No calls of experiment 'stronger' are in the books.\n"


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    ("name", "way"), [("strong", "did you mean stronger?"), ("other", "there are: stronger")]
)
def test_an_experiment_that_nobody_knows_is_a_mistake(
    file: str, name: str, way: str, more: tuple[str, ...]
) -> None:
    told = run("--config", file, name, *more)
    assert (told.exit_code, told.stdout) == (2, "")
    said = " ".join(told.stderr.split())
    assert f"no calls of experiment '{name}' are in the books" in said
    assert way in said


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


CANARY = (
    EXPERIMENT
    + """\
    arms: [{name: control}, {name: strong, model: strong}]
    stages: [{share: 37.5%, for: 1h}, {share: 50%, for: 1h}]
  plain:
    when: {alias: strong}
    arms: [{name: control, weight: 0.5}, {name: cool, weight: 0.5, params: {temperature: 0.1}}]
"""
)


def taken_back(folder: Path, state: str) -> str:
    """A configuration whose canary was taken back by a gateway that is gone; its name."""
    file = folder / "llmgate.yaml"
    file.write_text(f"{CANARY}state: {state}\nledger: sqlite:///{folder}/books.db\n")
    clock = VirtualClock()
    provider = ScriptedProvider({"small": ["hello"] * 150, "large": [Fault("server")] * 150}, default=None)
    with Gateway.from_config(file, transport=provider, clock=clock, sleeper=VirtualSleeper(clock)) as gateway:
        for at in range(150):
            with suppress(Exception):  # the candidate's
                gateway.complete("fast", "hi", context=Context(user=f"u{at}"))
            clock.advance(1.0)
    return str(file)


def test_a_canary_that_was_taken_back_begins_anew(tmp_path: Path, redis_server: Any) -> None:
    file = taken_back(tmp_path, redis_server.url)
    shown = run("--config", file, "stronger", "--json").output
    assert json.loads(shown)[0]["canary"]["status"] == "rolled_back"
    assert "To begin it anew: llmgate experiments reset stronger" in run("--config", file).output
    told = run("reset", "stronger", "--config", file)
    assert told.exit_code == 0
    assert max(map(len, told.output.splitlines())) <= 80
    said = " ".join(told.output.split())
    assert "Canary: taken back in stage 1 since" in said
    assert "It begins anew: strong gets 37.5%. A gateway notices with its first call that comes 5 s" in said
    assert "Canary, round 2: stage 1 of 2, strong gets 37.5%." in run("--config", file).output


def test_machines_are_told_what_it_was_and_what_it_is(tmp_path: Path, redis_server: Any) -> None:
    file = taken_back(tmp_path, redis_server.url)
    told = json.loads(run("reset", "stronger", "--config", file, "--json").output)
    assert told["experiment"] == "stronger"
    assert (told["was"]["status"], told["was"]["round"], told["was"]["stage"]) == ("rolled_back", 1, 1)
    assert "in trouble" in told["was"]["why"]
    assert (told["now"]["status"], told["now"]["round"], told["now"]["share"]) == ("running", 2, 0.375)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stronger", "was not taken back: as it is defined now, no call of it has been counted yet"),
        ("plain", "has no stages"),
        ("strnger", "there are: stronger, plain"),
    ],
)
def test_what_cannot_be_reset_is_told(tmp_path: Path, redis_server: Any, name: str, said: str) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text(f"{CANARY}state: {redis_server.url}\nledger: sqlite:///{tmp_path}/books.db\n")
    told = run("reset", name, "--config", str(file))
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())


def test_what_another_process_has_in_memory_cannot_be_reset_from_here(tmp_path: Path) -> None:
    told = run("reset", "stronger", "--config", taken_back(tmp_path, "memory"))
    assert told.exit_code == 2
    assert "each process has a canary of its own" in " ".join(told.output.split())


def test_a_state_that_is_away_says_nothing_of_canaries(tmp_path: Path) -> None:
    file = taken_back(tmp_path, "redis://127.0.0.1:1/0?timeout=100ms")
    told = run("--config", file, "stronger", "--json")
    assert json.loads(told.stdout)[0]["canary"] is None
    assert "how far canaries have come is not known" in " ".join(told.stderr.split())
    refused = run("reset", "stronger", "--config", file)
    assert refused.exit_code == 1
    assert "'stronger' is not reset" in " ".join(refused.output.split())


def test_without_a_subcommand_its_help_is_that_of_comparing() -> None:
    told = run("--help").output
    assert "Usage: llmgate experiments [OPTIONS] [NAME]" in told
    assert "--once" in told
    assert "reset" in told
