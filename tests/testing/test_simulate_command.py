"""`llmgate simulate`, run as a program."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx
import pytest
import yaml
from click.testing import CliRunner

from llmgate_plugins.cli.simulate import simulate

PROGRAM = "from llmgate_plugins.cli.simulate import simulate; simulate()"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Started in the background of a shell, these tests inherit that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def post(base: str) -> int:
    return httpx.post(
        f"{base}/chat/completions", headers={"authorization": "Bearer k"}, json=BODY
    ).status_code


def read_until(out: IO[str], words: str) -> list[str]:
    lines = []
    for line in out:
        lines.append(line.rstrip("\n"))
        if words in line:
            return lines
    raise AssertionError(f"{words!r} was never printed, only {lines}")


def test_it_prints_addresses_and_a_configuration_and_logs_each_request() -> None:
    with running("--provider", "one", "--provider", "two", "--fault", "two=rate_limit") as (process, out):
        lines = read_until(out, "api_key: sk-simulated") + read_until(out, "api_key: sk-simulated")
        assert max(map(len, lines)) <= 80
        config = yaml.safe_load("\n".join(lines[lines.index("model_list:") :]))
        models = [entry["litellm_params"] for entry in config["model_list"]]
        assert [one["model"] for one in models] == ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"]
        assert post(models[0]["api_base"]) == 200
        assert post(f"{models[1]['api_base']}/v1") == 429
        logged = read_until(out, " two ")
        assert "one POST /v1/chat/completions 200 answered" in "\n".join(logged)
        assert "two POST /v1/chat/completions 429 rate_limit" in logged[-1]
        process.send_signal(signal.SIGINT)
        assert "Stopped after 2 requests." in out.read()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_json_is_one_object_per_line_and_it_ends_when_told_to() -> None:
    with running("--json") as (process, out):
        head = json.loads(out.readline())
        assert list(head["providers"]) == ["alpha", "beta"]
        assert yaml.safe_load(head["config"])["model_list"][0]["model_name"] == "fast"
        assert post(head["providers"]["alpha"]["openai"]) == 200
        entry = json.loads(out.readline())
        assert (entry["provider"], entry["status"], entry["outcome"]) == ("alpha", 200, "answered")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert out.read() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "alpha=quake"], "no fault is called 'quake'"),
        (["--fault", "alpha"], "must be NAME=KIND[:RATE]"),
        (["--fault", "nobody=server"], "with NAME one of alpha, beta"),
        (["--fault", "alpha=server:7"], "the rate 7 is not between 0 and 1"),
        (["--fault", "alpha=server:often"], "could not convert string to float"),
        (["--provider", "a/b"], "cannot be a provider's name"),
        (["--port", "70000"], "70000 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(simulate, ["--port", "0", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_a_port_that_is_taken_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(simulate, ["--port", str(port)])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; try --port 0" in result.output


def test_the_testing_kit_needs_h11_only_for_the_simulator() -> None:
    code = (
        "import sys; sys.modules['h11'] = None; sys.modules['pytest'] = None\n"
        "from llmgate_plugins.testing import Fault, ScriptedProvider, Stream, VirtualClock\n"
        "from llmgate_plugins.cli.simulate import simulate; simulate()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'llmgate-plugins[testing]'" in done.stderr
    assert "Traceback" not in done.stderr
