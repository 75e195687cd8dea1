"""What the pages promise about the project holds: links, commands, versions, words."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from support.pages import DOCS, PAGES, ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
PLACE = re.compile(r"(?<![\w.:/}*])/(?!run/|etc/|var/|v1)\w+/\w\S*")
SHOUTED = re.compile(r"\b[A-Z]{4,}\.md\b")


def headings_of(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text(encoding="utf-8")):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name}: {match[0]}"
        if anchor:
            assert anchor in headings_of(found), f"{page.name}: {match[0]}"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / match["target"]).resolve() for match in LINK.finditer(index)}
    assert {page for page in DOCS.rglob("*.md") if page.name != "README.md"} - linked == set()


def test_the_readme_begins_with_the_commands_that_the_gate_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```sh\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    first, second = [line.partition("   #")[0].strip() for line in shown[1].strip().splitlines()]
    assert first == "python -m pip install uv && python -m uv run llmgate demo"
    assert second == "python -m uv run pytest"
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    gate = [line.partition(" || ")[0].strip() for line in lines]  # without what follows where it fails
    for command in (*first.split(" && ")[1:], second):
        assert command in gate, f".ci/run does not run: {command}"


def test_every_directory_of_tests_is_described() -> None:
    page = (DOCS / "how-to" / "test.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    assert {name for name in folders if f"`tests/{name}`" not in page} == set()


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(project['version'])}\b", changes, re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_speak_of_the_project_only(page: Path) -> None:
    text = re.sub(r'"image/png": "[^"]*"', "", page.read_text(encoding="utf-8"))
    assert PLACE.findall(text) == [], "a path of the machine it was written on"
    assert [name for name in SHOUTED.findall(text) if not any(ROOT.rglob(name))] == []
    assert re.findall(r"\bissue \d", text) == []


def test_what_does_not_exist_yet_is_not_promised() -> None:
    """The README's table and the configuration agree on what is refused."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    not_yet = "\n".join(line.split(" | ")[-1] for line in readme.splitlines() if line.startswith("| "))
    for absent in ("health shared between processes", "a console", "quality judged by models"):
        assert absent in not_yet


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.name)
def test_a_notebook_is_small(notebook: Path) -> None:
    assert notebook.stat().st_size < 200_000
    json.loads(notebook.read_text(encoding="utf-8"))
