"""Each wheel holds exactly its own package, typed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from llmgate_plugins.ledger.schema import SCHEMA_VERSION

ROOT = Path(__file__).parents[2]
WHEELS = {
    "llmgate_plugins": "llmgate_plugins",
    "langchain_llmgate": "langchain_llmgate",
    "litellm_llmgate": "litellm_llmgate",
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--all-packages", "--out-dir", str(out)],
        cwd=ROOT,
        # It may fetch what it builds with, from a server that real authorities vouch for.
        env={name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"},
        check=True,
        timeout=300,
    )
    return out


@pytest.mark.parametrize(("wheel", "package"), WHEELS.items())
def test_a_wheel_holds_exactly_its_own_typed_package(dist: Path, wheel: str, package: str) -> None:
    (found,) = dist.glob(f"{wheel}-*.whl")
    names = zipfile.ZipFile(found).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert f"{package}/py.typed" in names
    assert not [name for name in names if name.endswith((".pth", ".ipynb", ".db")) or "test_" in name]


def test_the_steps_that_bring_a_ledger_up_to_date_are_in_the_wheel(dist: Path) -> None:
    (found,) = dist.glob("llmgate_plugins-*.whl")
    names = [name for name in zipfile.ZipFile(found).namelist() if "/ledger/migrations/" in name]
    assert "llmgate_plugins/ledger/migrations/env.py" in names
    assert len([name for name in names if "/versions/00" in name]) == SCHEMA_VERSION


def test_hosts_are_dependencies_of_the_adapters_only() -> None:
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(core["dependencies"]) <= 5
    everything = [
        *core["dependencies"],
        *(one for extra in core["optional-dependencies"].values() for one in extra),
    ]
    assert not [one for one in everything if one.startswith(("langchain", "litellm"))]
    adapter = tomllib.loads((ROOT / "integrations/litellm/pyproject.toml").read_text())["project"]
    pins = next(one for one in adapter["dependencies"] if one.startswith("litellm>"))
    assert "!=1.107.0" in pins
