"""The gateway with all that ships holds every promise in simulated worlds, 200 of them or many more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmgate_plugins.testing.simulation import Options, simulate
from llmgate_plugins.testing.simulation.campaign import Summary, campaign, load_regressions
from llmgate_plugins.testing.simulation.command import main

REGRESSIONS = load_regressions(Path(__file__).parent / "regressions.json")


def told(summary: Summary) -> str:
    return "\n".join(
        "\n".join((f"seed {one.seed}: {one.replay()}", *map(str, one.violations[:3])))
        for one in summary.failures[:5]
    )


# First, so that what was wrong once is told before anything else.
@pytest.mark.parametrize(("seed", "options", "why"), REGRESSIONS, ids=lambda value: str(value)[:40])
def test_what_once_was_wrong_stays_right(seed: int, options: Options, why: str) -> None:
    result = simulate(seed, options)
    assert result.ok, f"{why}, again: {result.replay()}\n" + "\n".join(map(str, result.violations))


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(200), id="200"),
        pytest.param(range(1_000), id="1000", marks=[pytest.mark.campaign]),
        pytest.param(range(1_000, 51_000), id="50000", marks=[pytest.mark.campaign]),
    ],
)
def test_every_invariant_holds_in_every_seed(seeds: range) -> None:
    summary = campaign(seeds)
    assert summary.ok, told(summary)
    assert summary.seeds == len(seeds)
    assert sum(summary.calls.values()) == 200 * len(seeds)
    assert summary.sent > 180 * len(seeds)
    assert {"success", "error", "cancelled", "abandoned"} <= summary.calls.keys()


def test_the_same_seed_gives_the_same_trace() -> None:
    hashes = set()
    for seed in range(6):
        first, second = simulate(seed), simulate(seed)
        assert first.trace_hash == second.trace_hash, first.replay()
        assert first == second
        hashes.add(first.trace_hash)
    assert len(hashes) == 6


def test_the_same_seed_gives_the_same_trace_in_a_process_that_hashes_otherwise() -> None:
    code = (
        "from llmgate_plugins.testing.simulation import simulate\n"
        "print([simulate(seed).trace_hash for seed in range(4)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_a_trace_tells_all_that_happened_and_changes_nothing() -> None:
    quiet, told_all = simulate(3), simulate(3, Options(trace=True))
    assert quiet.trace == ()
    assert told_all.trace_hash == quiet.trace_hash
    kinds = {line.split()[1] for line in told_all.trace}
    assert {"sent", "ended", "recover", "over", "got"} <= kinds


def test_options_decide_what_is_not_left_to_the_seed() -> None:
    calm = simulate(5, Options(calls=60, workers=1, deployments=3, faults=0.0, leaving=0.0))
    assert sum(calm.calls.values()) == 60
    assert calm.calls["success"] >= 50  # the rest is bound to a region that is not there, or is refused
    assert calm.sent < 80
    assert Options.parse(json.dumps(calm.options.changed())) == calm.options


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"worker": 3}', "workers"),
        ("[]", "JSON object"),
        ('{"calls": 0}', "1 or more"),
        ("{", "property name"),
    ],
)
def test_options_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Options.parse(text)


def test_a_failing_seed_is_told_with_the_command_that_runs_it_again() -> None:
    result = replace(simulate(7, Options(calls=20, workers=2)), violations=())
    assert result.replay() == (
        "python -m llmgate_plugins.testing.simulation --from 7 --seeds 1"
        """ --options '{"calls": 20, "workers": 2}'"""
    )


def test_the_command_runs_seeds_and_tells_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5", "--from", "100", "--processes", "1", "--options", '{"calls": 40}']) == 0
    out, err = capsys.readouterr()
    assert "5 seeds, 200 calls" in out
    assert "Every invariant held in every seed." in out
    assert err.strip() == "." * 60
    assert max(map(len, (out + err).splitlines())) < 80


def test_the_command_tells_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--processes", "1", "--options", '{"calls": 40}', "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["seeds"], summary["failed"], summary["failures"]) == (2, 0, [])
    assert sum(summary["calls"].values()) == 80


def test_the_command_shows_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--from", "3", "--trace", "--options", '{"calls": 20}']) == 0
    assert " got " in capsys.readouterr().out
