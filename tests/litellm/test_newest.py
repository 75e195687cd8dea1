"""The router tests once more, on the newest 1.109 of LiteLLM, in an environment of its own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".cache" / "litellm-newest"
PYTHON = HOME / "venv" / "bin" / "python"
WANTED = (
    "litellm>=1.109,<1.110",
    "langchain-litellm",
    "h11",
    "sqlalchemy>=2.0.36",
    "pytest>=9",
    "pytest-asyncio>=1.0",
    "pytest-timeout>=2.3",
)
# It asks for a certifi that a package index may not have yet.
OVERRIDES = ("certifi",)
TESTS = (
    "test_calls.py",
    "test_streams.py",
    "test_registration.py",
    "test_transport.py",
    "test_prerouting.py",
    "test_breaks.py",
    "test_failures.py",
    "test_limits.py",
    "test_call_ids.py",
    "test_media.py",
)
A_WEEK = 7 * 86400.0


def uv() -> list[str]:
    found = shutil.which("uv")
    if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
        return [found]
    return [sys.executable, "-m", "uv"]


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    output = done.stdout + done.stderr
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{output[-6000:]}", pytrace=False)
    return output


@pytest.fixture(scope="module")
def newest() -> Path:
    """Python with the newest 1.109; built once, and anew when a week old or when the wishes change."""
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wishes = [*core, *WANTED]
    mark = hashlib.sha256("\n".join([sys.version, *wishes, *OVERRIDES]).encode()).hexdigest()
    HOME.mkdir(parents=True, exist_ok=True)
    stamp = HOME / "built"
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < A_WEEK
        if not (fresh and stamp.read_text() == mark and PYTHON.exists()):
            stamp.unlink(missing_ok=True)
            overrides = HOME / "overrides.txt"
            overrides.write_text("\n".join(OVERRIDES))
            environment = without_our_environment()
            venv = ("venv", "--clear", "--python", sys.executable, str(HOME / "venv"))
            run(*uv(), *venv, environment=environment)
            install = ("pip", "install", "--upgrade", "--python", str(PYTHON))
            run(*uv(), *install, "--override", str(overrides), *wishes, environment=environment)
            stamp.write_text(mark)
    return PYTHON


def without_our_environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "VIRTUAL_ENV", "SSL_CERT_FILE"))
    }
    theirs = kept.pop("OUTER_SSL_CERT_FILE", None)
    if theirs is not None:
        kept["SSL_CERT_FILE"] = theirs
    return kept | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations" / "litellm")]),
    }


@pytest.mark.newest
@pytest.mark.timeout(1200)
def test_the_router_tests_pass_on_the_newest_litellm_without_a_deprecation_warning(newest):
    environment = without_our_environment()
    version = run(
        str(newest),
        "-c",
        "from importlib.metadata import version; print(version('litellm'))",
        environment=environment,
    )
    assert re.match(r"1\.109\.", version), version
    tests = [str(ROOT / "tests" / "litellm" / name) for name in TESTS]
    output = run(
        *(
            str(newest),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=--import-mode=importlib",
        ),
        *("-W", "error::DeprecationWarning:litellm", "-W", "error::DeprecationWarning:litellm_llmgate"),
        *tests,
        environment=environment,
    )
    assert re.search(r"\d{2,} passed", output), output[-2000:]
    assert not re.search(r"failed|skipped|xfailed|error", output.splitlines()[-1]), output[-2000:]
