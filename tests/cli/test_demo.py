"""`llmgate demo` as it is run: real HTTP, the real hosts, books that must balance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmgate_plugins import Message, Request, gateway
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.cli.demo import hosts, running, stage
from llmgate_plugins.cli.demo.findings import NOWHERE, findings
from llmgate_plugins.cli.demo.hosts import Host, Job, NotInstalled
from llmgate_plugins.cli.demo.mask_emails import MaskEmails
from llmgate_plugins.cli.demo.running import perform
from llmgate_plugins.cli.demo.stage import Stage, set_up
from llmgate_plugins.testing import VirtualClock, VirtualSleeper

PLAIN = hosts.HOSTS[-1]


@pytest.fixture
def plain_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the core: no host, no client for Anthropic's wire."""
    monkeypatch.setattr(running, "HOSTS", (PLAIN,))
    for module in (hosts, stage):
        monkeypatch.setattr(module, "all_speak_anthropic", lambda: False)


@pytest.fixture
def set_stage(plain_only: None) -> Iterator[Stage]:
    with set_up(24, 7, fast=True) as ready:
        yield ready


def test_all_three_hosts_answer_every_question_though_two_providers_fail() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmgate_plugins.cli", "demo", "--fast", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), (told["checks"], told["hosts"])
    assert {host["host"]: host["answers"] for host in told["hosts"]} == {
        "langchain": 8,
        "litellm": 8,
        "plain": 8,
    }
    assert {group["name"] for group in told["calls_by_host"]} == {"langchain", "litellm", "plain"}
    failed = {(one["deployment"], one["why"]) for one in told["failovers"]}
    # Whether beta ever has to refuse depends on how many calls come before its headers have said so.
    assert failed - {("beta", "rate_limit")} == {("alpha", "connection")}
    assert {one["name"] for one in told["deployments"] if one["success"]} == {"alpha", "beta", "gamma"}
    assert all(one["went_to"] != "nowhere" for one in told["failovers"])
    assert sum(one["cost_nano_usd"] for one in told["deployments"]) == told["total"]["cost_nano_usd"] > 0
    assert "MaskEmails" in told["plugins"]


@pytest.mark.usefixtures("plain_only")
def test_it_reads_well_at_80_columns_and_leaves_no_file_behind() -> None:
    done = CliRunner().invoke(llmgate, ["demo", "--fast", "--seed", "7"])
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    for heading in ("Providers", "Configuration", "A plugin of our own", "Calls", "What was called"):
        assert f"\n{heading}" in done.output
    assert "[ok] answered: 24 of 24" in done.output
    assert "Nobody who asked has noticed." in done.output
    folder = next(line for line in done.output.splitlines() if line.startswith("ledger:"))
    assert not Path(folder.partition("sqlite:///")[2]).exists()


@pytest.mark.usefixtures("plain_only")
def test_the_same_seed_gives_the_same_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "AT_ONCE", 1)  # calls that race for the last healthy request may swap places

    def told(seed: int) -> list[object]:
        clock = VirtualClock()  # how soon a dead provider is tried again is a matter of time, not of the seed
        monkeypatch.setattr(gateway, "SystemClock", lambda: clock)
        monkeypatch.setattr(gateway, "SystemSleeper", lambda: VirtualSleeper(clock))
        done = CliRunner().invoke(llmgate, ["demo", "--calls", "12", "--fast", "--json", "--seed", str(seed)])
        found = json.loads(done.stdout)
        return [(one["name"], one["count"], one["success"]) for one in found["deployments"]]

    assert told(3) == told(3)


@pytest.mark.usefixtures("plain_only")
def test_a_call_that_fails_ends_it_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def jobs(stage: Stage) -> Iterator[Job]:
        def fail() -> list[str]:
            raise TimeoutError("nobody answered")

        yield Job("complete", lambda: [stage.gateway.complete("fast", "hello").text])
        yield Job("broken", fail)
        yield Job("empty", lambda: [""])

    monkeypatch.setattr(running, "HOSTS", (Host("plain", "Python", "openai", jobs),))
    done = CliRunner().invoke(llmgate, ["demo", "--calls", "6", "--fast"])
    assert done.exit_code == 1
    assert "plain: broken: TimeoutError: nobody answered" in done.output
    assert "plain: empty: 1 empty answers" in done.output
    assert "[NO] answered: 1 of 3 questions answered" in done.output


def test_a_host_that_is_not_installed_is_left_out_and_named(
    set_stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(stage: Stage) -> Iterator[Job]:
        raise NotInstalled("langchain_llmgate is not installed: pip install langchain-llmgate")

    monkeypatch.setattr(running, "HOSTS", (Host("langchain", "LangChain", "no_such_module", missing), PLAIN))
    left_out, done = perform(set_stage, 6, quiet=False)
    assert left_out.missing is not None
    assert "left out: langchain_llmgate is not installed: pip install langchain-llmgate" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert done.answers == 6
    assert findings(set_stage, [left_out, done])["ok"]


def test_a_host_that_cannot_be_loaded_is_a_failure_and_the_others_go_on(
    set_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(stage: Stage) -> Iterator[Job]:
        raise ImportError("libssl is too old")

    monkeypatch.setattr(running, "HOSTS", (Host("litellm", "LiteLLM", "openai", broken), PLAIN))
    first, second = perform(set_stage, 12, quiet=True)
    assert first.errors == ["cannot be loaded: ImportError: libssl is too old"]
    assert second.answers == 6
    assert failing(set_stage, [first, second]) == {"answered"}


def test_books_that_do_not_balance_are_noticed(set_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (done,) = perform(set_stage, 6, quiet=True)
    assert findings(set_stage, [done])["ok"]
    ledger = set_stage.gateway.services.ledger
    rows = ledger.attempts()

    monkeypatch.setattr(ledger, "attempts", lambda: rows[1:])
    assert failing(set_stage, [done]) == {"booked", "balanced"}
    monkeypatch.setattr(ledger, "attempts", lambda: [{**rows[0], "status": "intent"}, *rows[1:]])
    assert failing(set_stage, [done]) == {"booked"}


def test_where_a_call_went_is_found_beyond_deployments_that_it_skipped(
    set_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (done,) = perform(set_stage, 24, quiet=True)
    told = findings(set_stage, [done])["failovers"]
    assert told
    assert all(one["went_to"] != NOWHERE for one in told)
    ledger = set_stage.gateway.services.ledger
    apart = [{**row, "number": 2 * row["number"]} for row in ledger.attempts()]
    monkeypatch.setattr(ledger, "attempts", lambda: apart)
    assert findings(set_stage, [done])["failovers"] == told


def test_an_address_that_reached_a_provider_is_noticed(set_stage: Stage) -> None:
    (done,) = perform(set_stage, 6, quiet=True)
    request = set_stage.simulator.provider("gamma").requests[0]
    request.body["messages"][0]["content"] = "write to ana@example.com"
    assert failing(set_stage, [done]) == {"masked"}


def failing(set_stage: Stage, performances: list[running.Performance]) -> set[str]:
    return {check["name"] for check in findings(set_stage, performances)["checks"] if not check["ok"]}


def test_the_plugin_masks_texts_and_leaves_pictures_alone() -> None:
    picture = Message(role="user", content=({"type": "image_url", "image_url": {"url": "data:,a@b.cd"}},))
    asked = Request(
        model="fast", messages=(Message(role="user", content="ask ana.b+c@example.co.uk!"), picture)
    )
    masked = MaskEmails().admit_request(asked)
    assert [message.content for message in masked.messages] == ["ask <e-mail>!", picture.content]
