"""What is wrong with a plugin of the file is told whole, with file and line, under the name it has there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.distributions import distribution
from support.faces import ask, every_face

from llmgate_plugins import ConfigurationError, Gateway, HookFailed, PluginRefused
from llmgate_plugins.config import check_config
from llmgate_plugins.plugins import Health
from llmgate_plugins.testing import ScriptedProvider

MODELS = """\
model_list:
- model_name: fast
  litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/A_KEY}
"""
FAULTY = """
from llmgate_plugins import hookimpl

class Misspelt:
    @hookimpl
    def admit_requests(self, request): ...

    @hookimpl
    def end_call(self, recrod): ...

class Hookless:
    pass

class Failing:
    @hookimpl
    def admit_request(self, request):
        raise LookupError("no such tenant")

class FailingLater:
    @hookimpl
    def end_call(self, record):
        raise LookupError("no such table")

@hookimpl
def hook(request): ...

def nothing(): ...

def kind():
    return Failing

class Unmarked:
    def admit_requests(self, request): ...

class Selfless:
    @hookimpl
    def admit_request(request, context): ...

class Static:
    @staticmethod
    @hookimpl
    def admit_request(self, request): ...

class Needing:
    def __init__(self, per_minute, burst=1): ...

class Choosy:
    def __init__(self, per_minute):
        raise ValueError("per_minute must be at least 1")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where distributions may be installed, and a file that the key is in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("LLMGATE_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    monkeypatch.setenv("A_KEY", "sk-0123456789abcdef")
    return tmp_path


@pytest.fixture
def written(site: Path) -> Callable[[str], Path]:
    """Writes a file with this section `plugins`, which begins in line 5."""

    def write(plugins: str) -> Path:
        file = site / "llmgate.yaml"
        file.write_text(f"{MODELS}plugins:\n{plugins}\n")
        return file

    return write


def faulty(site: Path, *names: str) -> None:
    """A distribution whose plugins are called as their classes are, in small letters."""
    module = f"llmgate_faulty_{site.name.replace('-', '_')}"
    entries = {name.lower(): f"{module}:{name}" for name in names}
    distribution(site, module.replace("_", "-"), "1.0", entries, FAULTY)


def told(problems: object) -> list[str]:
    return [f"{one.line}: {one.message} ({one.remedy})" for one in problems]  # type: ignore[attr-defined]


EVERYTHING = """\
- nowhere
- {name: pinend}
- name: pinned
  dist: llmgate-pinnned
- name: pinned
  version: 2.0.0
- {name: pinned, version: ">=2"}
- {name: pinned, version: ">>2"}
- twice
- llmgate-rival
- {name: typo, dist: llmgate-grouped}
- llmgate-empty
- {nmae: pinned, version: 1}
- pinned: {most: 3}
"""
ALL_TOLD = [
    (
        f"5: plugin 'nowhere': is not installed (install its distribution into {sys.prefix}; "
        "installed are: pinned, twice, twice)"
    ),
    "6: plugin 'pinend': is not installed (did you mean pinned?)",
    (
        "8: plugin 'pinned': comes from llmgate-pinned, not from llmgate-pinnned "
        "(write dist: llmgate-pinned, if that is what you reviewed)"
    ),
    (
        "10: plugin 'pinned': llmgate-pinned is installed in version 1.0, allowed is 2.0.0 "
        "(review it and write version: 1.0, or install the allowed one)"
    ),
    (
        "11: plugin 'pinned': allowed is >=2, installed is llmgate-pinned 1.0 "
        "(review it and write version: 1.0, or install the allowed one)"
    ),
    "12: plugin 'pinned': '>>2' is no range of versions (write \">=1.2,<2\", or one version: 1.2.0)",
    (
        "13: plugin 'twice': is claimed by several distributions: llmgate-pinned, llmgate-rival "
        "(say which with `dist`)"
    ),
    (
        "14: plugin 'llmgate-rival': is not installed: llmgate-rival offers twice "
        "(a plugin's name is that of its entry point)"
    ),
    (
        "15: plugin 'typo': llmgate-grouped offers it in the group 'llmgate_plugins', which is not read "
        "(write [project.entry-points.llmgate], and install it again)"
    ),
    (
        "16: plugin 'llmgate-empty': llmgate-empty 1.0 is installed, but offers no plugin "
        "(if it is yours, add [project.entry-points.llmgate] to its pyproject.toml; install it again)"
    ),
    "17: name is missing (add name: ...)",
    "17: unknown key 'nmae' (did you mean name?)",
    "18: has a plugin's name as a key (write {name: ..., options: {...}})",
]


def test_all_plugins_that_cannot_be_loaded_are_told_at_once_and_none_is_imported(
    site: Path, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(
        site, "llmgate-pinned", "1.0", {"pinned": "llmgate_pinned:Limit", "twice": "llmgate_pinned:Limit"}
    )
    distribution(site, "llmgate-rival", "1.0", {"twice": "llmgate_rival:Limit"})
    distribution(site, "llmgate-grouped", "1.0", {"typo": "llmgate_grouped:Limit"}, group="llmgate_plugins")
    distribution(site, "llmgate-empty", "1.0", {})
    for module in ("llmgate_pinned", "llmgate_rival"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    file = written(EVERYTHING)
    assert told(check_config(file).errors) == ALL_TOLD
    assert {"llmgate_pinned", "llmgate_rival"}.isdisjoint(sys.modules)
    assert told(check_config(file, plugins=False).errors) == ALL_TOLD[-3:]


def test_a_gateway_that_is_built_tells_them_all_with_their_lines_and_keys_that_are_missing(
    site: Path, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(site, "llmgate-pinned", "1.0", {"pinned": "llmgate_pinned:Limit"})
    monkeypatch.delenv("A_KEY")
    file = written("- nowhere\n- {name: pinned, version: 2.0.0}")
    with pytest.raises(ConfigurationError) as refused:
        Gateway.from_config(file)
    assert [problem.line for problem in refused.value.problems] == [3, 5, 6]
    assert f"{file}:5: plugins[0].name: plugin 'nowhere': is not installed" in str(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        Gateway.from_config(file, check_secrets=False)
    assert [problem.line for problem in refused.value.problems] == [5, 6]


def test_plugins_are_told_of_also_where_there_are_no_models(site: Path) -> None:
    file = site / "llmgate.yaml"
    file.write_text("plugins:\n- nowhere\n")
    missing, plugin = check_config(file).errors
    assert "model_list is missing" in missing.message
    assert (plugin.line, plugin.message) == (2, "plugin 'nowhere': is not installed")


def test_no_name_is_passed_over(written: Callable[[str], Path]) -> None:
    with pytest.raises(PluginRefused, match=r"plugin '\?': is not installed"):
        Gateway.from_config(written('- "?"'))


def test_the_variable_that_forbids_plugins_is_told_by_the_check(
    site: Path, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(site, "llmgate-pinned", "1.0", {"pinned": "llmgate_pinned:Limit"})
    monkeypatch.setenv("LLMGATE_DISABLE_PLUGIN_AUTOLOAD", "1")
    (problem,) = check_config(written("- pinned")).errors
    assert "LLMGATE_DISABLE_PLUGIN_AUTOLOAD is set" in str(problem)


def test_all_plugins_that_cannot_be_made_are_told_at_once(site: Path, written: Callable[[str], Path]) -> None:
    faulty(site, "Needing", "Choosy", "Hookless", "Absent")
    distribution(site, "llmgate-ill", "1.0", {"ill": "llmgate_ill:Limit"}, "import no_such_module\n")
    distribution(site, "llmgate-lost", "1.0", {"lost": "llmgate_not_there:Limit"})
    file = written(
        "- {name: needing, options: {burst: 2}}\n- {name: choosy, options: {per_minute: 0}}\n"
        "- {name: hookless, options: {a: 1}}\n- absent\n- ill\n- lost\n"
        "- {name: choosy, options: {per_minut: 0}}"
    )
    assert check_config(file).ok
    with pytest.raises(PluginRefused) as refused:
        Gateway.from_config(file)
    found = told(refused.value.problems)
    here = f"llmgate-faulty-{site.name} 1.0".replace("_", "-")
    module = here.replace("-", "_").removesuffix(" 1.0")
    assert found == [
        (
            f"5: plugin 'needing' ({here}): needs the option per_minute "
            "(write options: {per_minute: ...}; it takes per_minute, burst=1)"
        ),
        (
            f"6: plugin 'choosy' ({here}): {module}:Choosy cannot be made with the options per_minute: "
            "ValueError: per_minute must be at least 1 (it takes per_minute)"
        ),
        f"7: plugin 'hookless' ({here}): takes no options (drop `options`)",
        (
            f"8: plugin 'absent' ({here}): {module}:Absent cannot be imported: AttributeError: "
            f"module '{module}' has no attribute 'Absent' "
            f"(let its entry point name what is in {module}, and install it again)"
        ),
        (
            "9: plugin 'ill' (llmgate-ill 1.0): llmgate_ill:Limit cannot be imported: ModuleNotFoundError: "
            f"No module named 'no_such_module', in {site / 'llmgate_ill.py'}:1 "
            "(install no_such_module, which llmgate-ill needs)"
        ),
        (
            "10: plugin 'lost' (llmgate-lost 1.0): llmgate_not_there:Limit cannot be imported: "
            "ModuleNotFoundError: No module named 'llmgate_not_there' "
            "(llmgate-lost has no such module: correct its entry point, and install it again)"
        ),
        (
            f"11: plugin 'choosy' ({here}): takes no option per_minut "
            "(did you mean per_minute? It takes per_minute)"
        ),
    ]
    assert (refused.value.plugin, refused.value.hook) == ("needing", None)


def test_hooks_that_do_not_fit_are_told_at_once_under_the_name_of_the_entry_point(
    site: Path, written: Callable[[str], Path]
) -> None:
    faulty(site, "Misspelt", "Hookless")
    file = written("- misspelt\n- hookless")
    with pytest.raises(PluginRefused) as refused:
        Gateway.from_config(file)
    here = f"llmgate-faulty-{site.name} 1.0".replace("_", "-")
    assert str(refused.value).splitlines()[0] == (
        f"{file}:5: plugins[0]: plugin 'misspelt' ({here}), hook admit_requests: is not a hook "
        "(did you mean admit_request?)"
    )
    assert [(one.line, one.message.partition(": ")[0]) for one in refused.value.problems] == [
        (5, f"plugin 'misspelt' ({here}), hook admit_requests"),
        (5, f"plugin 'misspelt' ({here}), hook end_call"),
        (6, f"plugin 'hookless' ({here})"),
    ]
    assert (refused.value.plugin, refused.value.hook) == ("misspelt", "admit_requests")


@every_face
def test_a_plugin_that_fails_in_a_call_is_named_as_in_the_file(
    face: str, site: Path, written: Callable[[str], Path]
) -> None:
    faulty(site, "Failing")
    with Gateway.from_config(written("- failing"), transport=ScriptedProvider(default="hello")) as gateway:
        failed = ask(face, gateway).error
    assert isinstance(failed, HookFailed)
    assert str(failed) == "plugin 'failing' failed in admit_request: LookupError: no such tenant"
    assert (failed.plugin, failed.hook) == ("failing", "admit_request")


@every_face
def test_a_plugin_that_fails_where_others_go_on_is_logged_as_in_the_file(
    face: str, site: Path, written: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    faulty(site, "FailingLater")
    caplog.set_level(logging.WARNING, "llmgate")
    file = written("- failinglater")
    with Gateway.from_config(file, transport=ScriptedProvider(default="hello")) as gateway:
        told = ask(face, gateway)
    assert (told.text, told.error) == ("hello", None)
    assert [one[:2] for one in told.record.problems] == [("failinglater", "end_call")]
    assert "plugin 'failinglater' failed in end_call" in caplog.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hook", "is a hook, not a plugin (let its entry point name the module, or a class of hooks)"),
        ("nothing", "returns nothing, not a plugin (return an instance with hooks from it)"),
        ("kind", "returns the class Failing, not a plugin"),
        ("Unmarked", "has no hooks (write @hookimpl above admit_requests; did you mean admit_request?)"),
        ("Selfless", "hook admit_request: has no self (make self its first parameter)"),
        ("Static", "asks for 'self' (drop @staticmethod, or self."),
    ],
)
def test_what_is_no_plugin_is_told_with_what_would_be_one(
    name: str, said: str, site: Path, written: Callable[[str], Path]
) -> None:
    faulty(site, name)
    with pytest.raises(PluginRefused) as refused:
        Gateway.from_config(written(f"- {name.lower()}"))
    assert f"llmgate.yaml:5: plugins[0]: plugin '{name.lower()}' (llmgate-faulty" in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("source", "line"), [("import os\nraise SystemExit(3)\n", 2), ("\n\n1 / 0\n", 3), ("a = = b\n", 1)]
)
def test_what_fails_while_it_is_imported_is_told_with_its_line(
    source: str, line: int, site: Path, written: Callable[[str], Path]
) -> None:
    name = f"llmgate_ill_{line}_{site.name.replace('-', '_')}"
    distribution(site, name, "1.0", {"ill": f"{name}:Limit"}, source)
    with pytest.raises(PluginRefused, match=rf"{name}.py(:| \(line |, line ){line}"):
        Gateway.from_config(written("- ill"))


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ([None], "plugin 'None': is no plugin"),
        (["quiet"], "plugin 'quiet': is a text, not a plugin .names of installed plugins stand in a file"),
        ("quiet", "plugin 'quiet': stands alone .plugins are a list"),
        (Health(), "plugin 'Health': stands alone .plugins are a list"),
    ],
)
def test_what_stands_in_the_place_of_plugins_is_refused(plugins: Any, said: str) -> None:
    models = {"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/a"}}]}
    with pytest.raises(PluginRefused, match=said):
        Gateway(plugins=plugins)
    with pytest.raises(PluginRefused, match=said):
        Gateway.from_config(models, plugins=plugins)
