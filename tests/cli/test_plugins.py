"""What `llmgate plugins` tells: installed, allowed, loaded, in which order, with which hooks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.gateway import Gateway
from llmgate_plugins.hookspecs import LIFE, RULES

SOURCE = """
from llmgate_plugins import hookimpl

class Limit:
    def __init__(self, most=1): ...

    @hookimpl
    def admit_request(self, request): ...

    @hookimpl(tryfirst=True)
    def end_call(self, record): ...
"""
MODEL = {
    "model_name": "fast",
    "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "os.environ/NOT_SET"},
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where two plugins are installed: `limit`, and `rogue`, which must not be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("LLMGATE_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    for name, source in (("limit", SOURCE), ("rogue", "raise SystemExit('imported')")):
        module = f"llmgate_{name}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"llmgate_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llmgate-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[llmgate]\n{name} = {module}:Limit\n")
    return tmp_path


def configuration(folder: Path, *plugins: object) -> str:
    file = folder / "llmgate.yaml"
    file.write_text(json.dumps({"model_list": [MODEL], "plugins": list(plugins)}))  # JSON is YAML
    return str(file)


def test_installed_plugins_are_listed_without_being_imported(site: Path) -> None:
    done = CliRunner().invoke(llmgate, ["plugins"])
    assert done.exit_code == 0
    assert "limit  llmgate-limit 1.2" in done.output
    assert "rogue  llmgate-rogue 1.2" in done.output
    assert "None is loaded" in done.output
    assert not [name for name in sys.modules if name.endswith(site.name.replace("-", "_"))]


def test_what_a_configuration_allows_is_loaded_and_shown_in_run_order(site: Path) -> None:
    file = configuration(site, {"name": "limit", "dist": "LLMGate_limit", "options": {"most": 3}})
    told = json.loads(CliRunner().invoke(llmgate, ["plugins", "-c", file, "--json"]).stdout)
    assert [(one["name"], one["allowed"]) for one in told["installed"]] == [("limit", True), ("rogue", False)]
    first = told["plugins"][0]
    assert (first["name"], first["from"]) == ("limit", "llmgate-limit 1.2")
    assert first["hooks"] == ["admit_request", "end_call"]
    assert [one["name"] for one in told["plugins"][1:]] == list(dict(Gateway().plugins))
    assert {one["from"] for one in told["plugins"][1:]} == {"built in"}
    ending = next(hook for hook in told["hooks"] if hook["name"] == "end_call")
    hooked = [name for name, one in Gateway().plugins if hasattr(one, "end_call")]
    assert ending["implemented_by"] == ["limit", *hooked]
    # The books come last of those that act; only what watches for their failures comes behind.
    assert hooked[-2:] == ["LedgerAccounting", "FailureAlarms"]


def test_every_hook_is_told_with_its_five_facts_in_the_order_of_a_calls_life() -> None:
    told = json.loads(CliRunner().invoke(llmgate, ["plugins", "--json"]).stdout)
    assert [hook["name"] for hook in told["hooks"]] == list(LIFE)
    for hook in told["hooks"]:
        rule = RULES[hook["name"]]
        assert (hook["when"], hook["combine"], hook["on_error"]) == (rule.when, rule.combine, rule.on_error)
        assert (hook["may_be_async"], hook["since"]) == (rule.may_be_async, rule.since)

    printed = CliRunner().invoke(llmgate, ["plugins", "--hooks"]).output
    places = [printed.index(f"{name}  (") for name in LIFE]
    assert places == sorted(places)
    for words in ("when ", "combine ", "on error ", "async ", "since "):
        assert printed.count(f"\n    {words}") == len(LIFE)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_plugin_that_is_not_installed_is_an_error_with_a_remedy(site: Path) -> None:
    done = CliRunner().invoke(llmgate, ["plugins", "-c", configuration(site, "limitt")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        "llmgate.yaml:1: plugins[0].name: plugin 'limitt': is not installed (did you mean limit?)"
        in " ".join(done.stderr.split())
    )


def test_no_key_and_no_ledger_is_touched_to_list_plugins(site: Path) -> None:
    file = site / "llmgate.yaml"
    file.write_text(json.dumps({"model_list": [MODEL], "ledger": f"sqlite:///{site}/books.db"}))
    done = CliRunner().invoke(llmgate, ["plugins", "-c", str(file)])
    assert done.exit_code == 0
    assert not (site / "books.db").exists()
