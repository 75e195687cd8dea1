"""The command line as a whole: help, start time, errors, exit codes, Ctrl-C, closed pipes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llmgate_plugins import ConfigurationError, RequestDenied
from llmgate_plugins.cli import _main
from llmgate_plugins.cli._main import COMMANDS, llmgate
from llmgate_plugins.errors import Problem
from llmgate_plugins.testing import Fault, ProviderSimulator

PROGRAM = [sys.executable, "-m", "llmgate_plugins.cli"]


def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_help_tells_every_command_and_loads_none() -> None:
    code = (
        "import sys; from llmgate_plugins.cli._main import llmgate\n"
        "try: llmgate(['--help'])\n"
        "except SystemExit: pass\n"
        "loaded = [m for m in sys.modules if m.startswith('llmgate_plugins.cli.')]\n"
        "heavy = [m for m in sys.modules if m in ('rich', 'httpx', 'openai', 'yaml', 'sqlalchemy')]\n"
        "print(sorted(loaded), heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *told, loaded = done.stdout.splitlines()
    assert loaded == "['llmgate_plugins.cli._main', 'llmgate_plugins.cli.output'] []"
    for name, lazy in COMMANDS.items():
        assert any(line.split() == [name, *lazy.help.split()] for line in told), name


def test_help_fits_80_columns_for_every_command() -> None:
    for args in ([], *([name] for name in COMMANDS), ["config", "check"], ["config", "schema"]):
        done = CliRunner().invoke(llmgate, [*args, "--help"])
        assert done.exit_code == 0, args
        assert max(map(len, done.output.splitlines())) <= 80, args


def test_each_command_is_where_the_table_says() -> None:
    for name in COMMANDS:
        command = llmgate.get_command(click.Context(llmgate), name)
        assert command is not None
        assert command.name == name
        assert command.help


def test_help_needs_no_more_processor_time_than_five_times_importing_click() -> None:
    """That is about 300 ms on a machine of 2020."""
    click_alone, help_told = [], []
    for _ in range(5):
        click_alone.append(processor_time([sys.executable, "-c", "import click"]))
        help_told.append(processor_time([*PROGRAM, "--help"]))
    assert min(help_told) < 5 * min(click_alone)


def processor_time(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"llmgate {version('llmgate-plugins')}\n"


def test_the_console_script_is_this_command_line() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="llmgate")
    assert script.value == "llmgate_plugins.cli:main"


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    done = run("modles")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'modles'. Did you mean models?" in done.stderr
    assert "There are: demo, chat" in run("xyz").stderr


def test_a_mistake_of_usage_fits_80_columns() -> None:
    told = CliRunner().invoke(llmgate, ["report", "--ledger", "sqlite:///x", "--since", "whenever"]).output
    assert "Error: 'whenever' is no moment" in told
    assert max(map(len, told.splitlines())) <= 80
    told = CliRunner().invoke(llmgate, ["shadow", "--sinse", "7d"]).output
    assert "No such option" in told


def test_without_click_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = None; from llmgate_plugins.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "llmgate: the command line needs click: pip install 'llmgate-plugins[cli]'\n"


# ---------------------------------------------------------------- errors


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command `fail` that raises what is put here."""
    errors: list[BaseException] = []

    @click.command()
    def fail() -> None:
        raise errors[0]

    module = type(sys)("failing_command")
    module.fail = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(_main.COMMANDS, "fail", _main.Lazy("failing_command", "fail", "Fails."))
    return errors


def test_every_mistake_of_a_configuration_is_told_and_the_code_is_2(failing: list[BaseException]) -> None:
    problems = [
        Problem(message="no such thing", remedy="drop it", file="llmgate.yaml", line=3, path="state"),
        Problem(message="nor this"),
    ]
    failing.append(ConfigurationError(problems=problems))
    done = CliRunner().invoke(llmgate, ["fail"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: llmgate.yaml:3: state: no such thing (drop it)\n  nor this\n"


def test_other_errors_are_one_line_with_their_notes_and_the_code_is_1(failing: list[BaseException]) -> None:
    denied = RequestDenied("not on Sundays")
    denied.add_note("llmgate attempt 1: a: server after 0.10 s")
    failing.append(denied)
    done = CliRunner().invoke(llmgate, ["fail"])
    assert done.exit_code == 1
    assert done.stderr == "Error: not on Sundays\n  llmgate attempt 1: a: server after 0.10 s\n"


def test_an_unexpected_error_shows_its_traceback_with_debug_alone(failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError("by\nzero"))
    done = CliRunner().invoke(llmgate, ["fail"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0] == "Error: ZeroDivisionError: by zero"
    debugged = CliRunner().invoke(llmgate, ["--debug", "fail"])
    assert isinstance(debugged.exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(failing: list[BaseException]) -> None:
    failing.append(KeyboardInterrupt())
    done = CliRunner().invoke(llmgate, ["fail"])
    assert (done.exit_code, done.stderr) == (130, "Interrupted.\n")


# ---------------------------------------------------------------- real processes


def test_a_broken_file_ends_a_real_process_with_2(tmp_path: Path) -> None:
    file = tmp_path / "llmgate.yaml"
    file.write_text("model_list:\n- model_name: fast\n  litellm_params: {modell: openai/x}\nstate: nowhere\n")
    done = run("chat", "hello", "--config", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file}:3: " in done.stderr
    assert f"{file}:4: " in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_a_provider_is_silent_ends_with_130(tmp_path: Path) -> None:
    with ProviderSimulator() as simulator:
        silent = simulator.provider("silent")
        silent.fail_always(Fault("stall"))
        file = tmp_path / "llmgate.yaml"
        file.write_text(
            "model_list:\n- model_name: fast\n"
            f"  litellm_params: {{model: gpt-4o-mini, api_key: k, api_base: {silent.openai_base_url}}}\n"
        )
        process = subprocess.Popen(
            [*PROGRAM, "chat", "hello", "-c", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A run in the background of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        until = time.monotonic() + 60
        while not silent.requests and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.endswith("Interrupted.\n")


def test_a_reader_who_closes_the_pipe_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, "plugins", "--hooks"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1
