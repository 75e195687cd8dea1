"""One prompt through a configuration, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.testing import Fault, ProviderSimulator, SimulatedProvider


class Place:
    """A folder with a configuration of two deployments, one of them in the EU."""

    def __init__(self, folder: Path, simulator: ProviderSimulator) -> None:
        self.us: SimulatedProvider = simulator.provider(f"us-{folder.name}")
        self.eu: SimulatedProvider = simulator.provider(f"eu-{folder.name}")
        self.file = folder / "llmgate.yaml"
        self.file.write_text(
            f"""
model_list:
  - model_name: fast
    litellm_params: {{model: gpt-4o-mini, api_key: k, api_base: {self.us.openai_base_url}}}
    model_info: {{id: one-us, region: us}}
  - model_name: fast
    litellm_params: {{model: gpt-4o-mini, api_key: k, api_base: {self.eu.openai_base_url}}}
    model_info: {{id: one-eu, region: eu}}
  - model_name: strong
    litellm_params: {{model: gpt-4o, api_key: k, api_base: {self.eu.openai_base_url}}}
    model_info: {{id: big, region: eu}}
policies:
  eu: {{require: {{region: eu}}}}
"""
        )

    def chat(self, *args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(llmgate, ["chat", "-c", str(self.file), *args], input=stdin)


@pytest.fixture(scope="module")
def simulator() -> Iterator[ProviderSimulator]:
    with ProviderSimulator(seed=3) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, simulator: ProviderSimulator) -> Place:
    return Place(tmp_path, simulator)


def test_the_answer_is_on_stdout_and_what_it_took_on_stderr(place: Place) -> None:
    done = place.chat("hello there")
    assert (done.exit_code, done.stdout) == (0, "You said: hello there\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("[one-us | 1 attempt | ")
    assert " | first token " in line
    assert line.endswith("]")
    assert " in, " in line
    assert " | $0.00" in line
    assert place.us.requests[0].body["stream"] is True


def test_the_whole_answer_may_be_waited_for(place: Place) -> None:
    done = place.chat("hello", "--no-stream", "--max-tokens", "50", "--temperature", "0.5")
    assert done.stdout == "You said: hello\n"
    assert "first token" not in done.stderr
    body = place.us.requests[0].body
    assert not body.get("stream")
    assert (body["max_tokens"], body["temperature"]) == (50, 0.5)


@pytest.mark.parametrize("args", [["-"], []])
def test_the_prompt_may_come_from_stdin(place: Place, args: list[str]) -> None:
    assert place.chat(*args, stdin="two\nlines\n").stdout == "You said: two\nlines\n\n"


def test_a_system_message_and_another_model_are_sent(place: Place) -> None:
    done = place.chat("hello", "--model", "strong", "--system", "Be brief.")
    assert done.exit_code == 0
    body = place.eu.requests[0].body
    assert body["model"] == "gpt-4o"
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_a_dead_deployment_is_passed_over_and_explained(place: Place) -> None:
    place.us.fail_always(Fault("rate_limit", retry_after=30))
    done = place.chat("hello", "--explain", "--tag", "feature=search", "--team", "blue")
    assert (done.exit_code, done.stdout) == (0, "You said: hello\n")
    told = done.stderr
    assert "for: team=blue" in told
    assert "tags: feature=search" in told
    assert "fast: 2 candidates, 2 eligible, as configured" in told
    assert "1. one-us: rate_limit (HTTP 429, retry after 30 s) after " in told
    assert "2. one-eu (next deployment): success after " in told
    assert max(map(len, told.splitlines())) <= 80


def test_a_policy_removes_and_the_explanation_says_whom_and_why(place: Place) -> None:
    done = place.chat("hello", "--policy", "eu", "--explain")
    (dropped,) = (line for line in done.stderr.splitlines() if "one-us" in line)
    assert dropped.split() == ["-", "one-us", "region", "(Policies)"]
    assert place.us.requests == []


def test_json_is_one_object_and_nothing_else(place: Place) -> None:
    done = place.chat("hello", "--json")
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert (told["text"], told["deployment"], told["attempts"]) == ("You said: hello", "one-us", 1)
    assert told["finish_reason"] == "stop"
    assert told["cost_usd"] > 0
    assert "decision" not in told
    explained = json.loads(place.chat("hello", "--json", "--explain", "--no-stream").stdout)
    assert explained["decision"]["selections"][0]["considered"] == ["one-us", "one-eu"]


def test_when_all_fails_each_attempt_is_told_and_the_code_is_1(place: Place) -> None:
    for provider in (place.us, place.eu):
        provider.fail_always(Fault("authentication"))
    done = place.chat("hello", "--no-stream")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Error: AuthenticationError:" in done.stderr
    assert "llmgate attempt 1: one-us: authentication (HTTP 401)" in done.stderr
    assert "k" * 8 not in done.stderr


def test_a_stream_that_breaks_shows_what_came_and_fails(place: Place) -> None:
    place.us.script(Fault("cut", after=2))
    done = place.chat("one two three four")
    assert done.exit_code == 1
    assert done.stdout.startswith("You said:")
    assert "the stream broke after" in done.stderr


@pytest.mark.parametrize(
    ("args", "stdin", "told"),
    [
        (["hello", "--model", "fats"], None, "unknown model 'fats'; did you mean 'fast'?"),
        (["hello", "--policy", "us"], None, "there is no policy called 'us'"),
    ],
)
def test_what_the_gateway_refuses_is_one_clear_line(
    place: Place, args: list[str], stdin: str | None, told: str
) -> None:
    done = place.chat(*args, stdin=stdin)
    assert done.exit_code == 1
    assert f"Error: {told}" in done.stderr


@pytest.mark.parametrize(
    ("args", "stdin", "told"),
    [
        (["  "], None, "the prompt is empty"),
        (["-"], "", "the prompt is empty"),
        (["hello", "--tag", "x"], None, "'x' must be KEY=VALUE"),
        (["hello", "--temperature", "9"], None, "--temperature"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    place: Place, args: list[str], stdin: str | None, told: str
) -> None:
    done = place.chat(*args, stdin=stdin)
    assert done.exit_code == 2
    assert told in done.stderr


def test_without_a_configuration_it_says_how_to_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(llmgate, ["chat", "hello"])
    assert done.exit_code == 2
    assert "there is no llmgate.yaml here" in done.stderr
    assert "- model_name: fast" in done.stderr


def test_the_configuration_in_this_folder_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.file.parent)
    assert CliRunner().invoke(llmgate, ["chat", "hello"]).stdout == "You said: hello\n"


def test_a_missing_key_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    file = tmp_path / "mine.yaml"
    file.write_text(
        "model_list:\n- model_name: fast\n  litellm_params:\n"
        "    model: gpt-4o-mini\n    api_key: env:NO_SUCH_KEY\n"
    )
    done = CliRunner().invoke(llmgate, ["chat", "hello", "-c", str(file)])
    assert done.exit_code == 2
    assert "mine.yaml:5" in done.stderr
    assert "NO_SUCH_KEY is not set" in done.stderr
