"""The example plugins are real distributions: found by entry point, allowed by name, and tested."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.pages import ROOT

from llmgate_plugins import Alert, ConfigurationError, Context, Gateway, RequestDenied
from llmgate_plugins.testing import ScriptedProvider

EXAMPLES = [
    ROOT / "examples" / name for name in ("llmgate-filealerts", "llmgate-greenest", "llmgate-speedlimit")
]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples, installed: their modules and the metadata an installer would write."""
    for example in EXAMPLES:
        project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = "\n".join(
            f"{name} = {target}" for name, target in project["entry-points"]["llmgate"].items()
        )
        (metadata / "entry_points.txt").write_text(f"[llmgate]\n{points}\n")
        monkeypatch.syspath_prepend(str(example))
    monkeypatch.syspath_prepend(str(tmp_path))


def configured(**plugin: object) -> Gateway:
    allowed = {"name": "speedlimit", "dist": "llmgate-speedlimit", "version": "1.0.0", **plugin}
    model = {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-any"}}
    return Gateway.from_config({"model_list": [model], "plugins": [allowed]}, transport=ScriptedProvider())


@pytest.mark.usefixtures("installed")
def test_the_example_is_loaded_by_name_and_made_with_its_options() -> None:
    gateway = configured(options={"per_minute": 1})
    gateway.complete("fast", "One.", context=Context(team="search"))
    with pytest.raises(RequestDenied, match="search is too fast"):
        gateway.complete("fast", "Two.", context=Context(team="search"))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("change", [{"dist": "somebody-else"}, {"version": "2.0.0"}])
def test_the_example_of_another_origin_or_version_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="speedlimit"):
        configured(options={"per_minute": 1}, **change)


@pytest.mark.usefixtures("installed")
def test_a_channel_of_somebody_else_is_told_like_the_built_in_ones(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    gateway = configured(name="filealerts", dist="llmgate-filealerts", options={"path": str(path)})
    gateway.services.alerts.report(Alert(kind="ejected", subject="east", summary="It fails."))
    gateway.close()
    assert "filealerts" in gateway.alerts.channels
    assert json.loads(path.read_text(encoding="utf-8"))["subject"] == "east"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_own_tests_pass(example: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"],
        cwd=example,
        env={
            "PYTHONPATH": str(example),
            "PATH": "/usr/bin:/bin",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they need none, and it takes half of the time
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stdout + told.stderr
