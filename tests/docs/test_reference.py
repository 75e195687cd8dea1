"""The reference says what the code says, and nothing is left out of it."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from support.pages import DOCS, ROOT, blocks_of

from llmgate_plugins import errors, plugins, testing
from llmgate_plugins.cli._main import llmgate
from llmgate_plugins.cli.experiments import Comparing
from llmgate_plugins.hookspecs import RULES
from llmgate_plugins.types import ErrorClass


def reference(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


def test_the_reference_is_what_the_generator_writes() -> None:
    told = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("hook", RULES)
def test_every_hook_has_its_signature_and_five_facts(hook: str) -> None:
    section = reference("hooks.md").partition(f"\n## {hook}\n")[2].partition("\n## ")[0]
    assert f"def {hook}(" in section
    for fact in ("when", "answers combine", "an exception means", "may be `async def`", "since"):
        assert f"| {fact} | " in section


@pytest.mark.parametrize("name", errors.__all__)
def test_every_public_error_is_documented(name: str) -> None:
    assert f"\n## {name}\n" in reference("errors.md")


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_testing_kit_is_documented(name: str) -> None:
    assert f"\n## {name}\n" in reference("testing.md")


@pytest.mark.parametrize(
    "name", [name for name in plugins.__all__ if name[0].isupper() and name != "BUILTINS"]
)
def test_every_built_in_plugin_is_documented(name: str) -> None:
    assert f"\n## {name}\n" in reference("plugins.md")


def test_every_module_of_the_core_is_in_the_tree() -> None:
    tree = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8").partition("```text")[2]
    words = set(re.findall(r"\w+", tree.partition("```")[0]))
    names = {path.stem for path in (ROOT / "llmgate_plugins").iterdir() if path.suffix in (".py", "")}
    assert {name for name in names if not name.startswith("__")} - words - {"py"} == set()


def test_every_command_is_documented() -> None:
    context = click.Context(llmgate, info_name="llmgate")
    for name in llmgate.list_commands(context):
        assert f"\n## llmgate {name}\n" in reference("cli.md")


@pytest.mark.parametrize("one", ErrorClass)
def test_every_class_of_failure_has_a_reaction_and_an_explanation(one: ErrorClass) -> None:
    assert f"| `{one.value}` | " in reference("classification.md")
    assert f"`{one.value}`" in (DOCS / "explanation" / "failover.md").read_text(encoding="utf-8")


def test_every_command_line_that_is_shown_can_be_parsed() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for block in blocks_of(page):
            if block.language not in ("sh", "console"):
                continue
            for line in block.text.splitlines():
                words = line.removeprefix("$ ").partition("   #")[0].split()
                if words[:1] == ["llmgate"]:
                    assert parses(words[1:]), f"{block.place}: {line}"


def parses(words: list[str]) -> bool:
    """Whether the command line is understood; nothing is run."""
    command: click.Command | None = llmgate
    context = click.Context(llmgate, info_name="llmgate")
    while isinstance(command, click.Group):
        if isinstance(command, Comparing):
            words = command.completed(words)
        if not words or words[0].startswith("-"):
            return True
        command = command.get_command(context, words[0])
        words = words[1:]
    if command is None:
        return False
    command.make_context(command.name, list(words), resilient_parsing=False)
    return True
