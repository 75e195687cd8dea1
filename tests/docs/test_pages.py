"""What the documentation shows works as it is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.pages import ROOT, RUN_PAGES, Block, Session, blocks_of, own_telemetry, simulated_world

from llmgate_plugins.config import load_config
from llmgate_plugins.testing import ProviderSimulator

pytestmark = [
    # Clients of providers leave connections to the garbage collector, and LiteLLM warns of itself.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm.*"),
]

BLOCKS = [block for page in RUN_PAGES for block in blocks_of(page)]
RUNNABLE = [
    page
    for page in RUN_PAGES
    if any(one.mark or one.language == "python" for one in blocks_of(page))
    and page.parent.name != "reference"
]
YAML = [block for block in BLOCKS if block.language == "yaml"]
BASE: dict[str, Any] = {
    "model_list": [
        {
            "model_name": name,
            "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "env:KEY"},
            "model_info": {"region": region},
        }
        for name in ("fast", "strong", "cheap")
        for region in ("us", "eu")
    ]
}
"""What a fragment of a configuration is added to."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def place_of(block: Block) -> str:
    return block.place


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    with ProviderSimulator(seed=1) as simulator, simulated_world(simulator), own_telemetry():
        yield Session(tmp_path, simulator)
    for module in set(sys.modules) - modules:
        if str(getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_a_page_works_as_it_is_shown(page: Path, session: Session) -> None:
    for block in blocks_of(page):
        session.run(block)
    tests = sorted(session.directory.rglob("test_*.py"))
    if tests:
        told = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tests)],
            cwd=session.directory,
            env={
                **os.environ,
                "PYTHONPATH": str(session.directory),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they need none, and it takes half of the time
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("block", YAML, ids=place_of)
def test_a_configuration_that_is_shown_is_valid(block: Block) -> None:
    document = yaml.safe_load(block.text)
    assert isinstance(document, dict), f"{block.place} is no configuration; give it another language"
    load_config(document if "model_list" in document else {**BASE, **document})


def test_what_is_not_run_says_why() -> None:
    unexplained = [one.place for one in BLOCKS if one.mark == "not run" and len(one.value) < 15]
    assert unexplained == []


def test_python_is_run_except_for_a_few_blocks() -> None:
    python = [one for one in BLOCKS if one.language == "python" and one.page.parent.name != "reference"]
    assert len([one for one in python if one.mark == "not run"]) <= len(python) // 10
