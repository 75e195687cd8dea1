"""The conformance suite passes for what ships in the box, and fails for what does not conform."""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from llmgate_plugins.plugins import (
    Budget,
    Capabilities,
    Cheapest,
    ContextConstraints,
    Failover,
    Fastest,
    InOrder,
    Limits,
    Weighted,
)
from llmgate_plugins.testing import PluginContract


class TestInOrder(PluginContract):
    def make_plugin(self) -> object:
        return InOrder()


class TestWeighted(PluginContract):
    def make_plugin(self) -> object:
        return Weighted({"east": 3, "west": 1})


class TestCheapest(PluginContract):
    def make_plugin(self) -> object:
        return Cheapest()


class TestFastest(PluginContract):
    def make_plugin(self) -> object:
        return Fastest()


class TestBudget(PluginContract):
    def make_plugin(self) -> object:
        return Limits([Budget(scope="global", limit=10_000_000_000, window=86_400)])


class TestConstraints(PluginContract):
    def make_plugin(self) -> object:
        plugin = ContextConstraints()
        plugin.name = "constraints"  # beside the built-in one
        return plugin


class TestCapabilities(PluginContract):
    def make_plugin(self) -> object:
        return Capabilities()


class TestFailover(PluginContract):
    def make_plugin(self) -> object:
        plugin = Failover(max_attempts=2)
        plugin.name = "failover"
        return plugin


BROKEN = {
    "raises in accounting": (
        """
    @hookimpl
    def end_attempt(self, outcome):
        raise KeyError(outcome.status)
        """,
        "it failed in end_attempt",
    ),
    "raises in policy": (
        """
    @hookimpl
    def admit_request(self, request):
        return request.nothing
        """,
        "it raised instead of denying",
    ),
    "mutates": (
        """
    @hookimpl
    def admit_request(self, request):
        request.params.get("stop", []).append("y")
        """,
        "test_it_changes_nothing_it_is_handed",
    ),
    "answers nonsense": (
        """
    @hookimpl
    def rank_deployments(self, deployments):
        return {one.id for one in deployments}
        """,
        "it failed in rank_deployments",
    ),
    "tells faces apart": (
        """
    @hookimpl
    def rank_deployments(self, deployments):
        import asyncio
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return None
        return deployments[::-1]
        """,
        "test_it_decides_alike_on_every_face",
    ),
    "cannot be cancelled": (
        """
    @hookimpl
    def end_attempt(self, outcome):
        assert outcome.status != "cancelled"
        """,
        "test_a_reader_who_leaves_is_told_to_it_like_any_end",
    ),
    "is a channel that breaks at line breaks": (
        """
    @hookimpl
    def deliver_alert(self, alert):
        if "\\n" in alert.summary:
            raise ValueError("more than a line")
        """,
        "it failed to deliver",
    ),
    "does not fit": (
        """
    @hookimpl
    def admit_requests(self): ...
        """,
        "did you mean admit_request?",
    ),
}


STOP_AT_FIRST = """
import pytest

FAILED = set()

def pytest_runtest_makereport(item, call):
    if call.excinfo is not None:
        FAILED.add(item.path)

def pytest_runtest_setup(item):
    if item.path in FAILED:
        pytest.skip("its suite has failed")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Case -> what the suite says of it: each its own module, in one process."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "conftest.py").write_text(STOP_AT_FIRST)
    modules = {case: f"test_{number}" for number, case in enumerate(BROKEN)}
    for case, module in modules.items():
        (folder / f"{module}.py").write_text(
            "from llmgate_plugins import hookimpl\n"
            "from llmgate_plugins.testing import PluginContract\n\n"
            f"class Plugin:\n{BROKEN[case][0]}\n\n"
            "class TestPlugin(PluginContract):\n    def make_plugin(self):\n        return Plugin()\n"
        )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=told.xml", "."],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # pytest alone is enough, and quicker
    )
    assert ran.returncode == 1, ran.stdout
    cases = list(ET.parse(folder / "told.xml").iter("testcase"))
    return {
        case: "\n".join(
            f"{one.get('name')}: {failure.text}"
            for one in cases
            if str(one.get("classname")).startswith(f"{module}.")
            for failure in one.findall("failure") + one.findall("error")
        )
        for case, module in modules.items()
    }


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_conform_fails_the_suite(case: str, told: dict[str, str]) -> None:
    assert BROKEN[case][1] in told[case]
