# ruff: noqa: S101 - pytest asserts
"""What the channel promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmgate_filealerts import FileAlerts

from llmgate_plugins import Alert, Gateway
from llmgate_plugins.testing import PluginContract

ALERT = Alert(kind="budget_threshold", subject="team:search", summary="80 % is spent.")


class TestFileAlerts(PluginContract):
    """What every plugin must hold to; among it, that it takes every alert."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_plugin(self) -> FileAlerts:
        return FileAlerts(str(self.folder / "alerts.jsonl"))


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_alert_is_one_line_and_so_is_its_end(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    with Gateway(plugins=[FileAlerts(str(path))]) as gateway:
        for resolved in (False, False, True):
            gateway.services.alerts.report(
                Alert(kind="ejected", subject="east", summary="…", resolved=resolved)
            )
    assert [one["resolved"] for one in written(path)] == [False, True]


def test_it_writes_what_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    with Gateway(plugins=[FileAlerts(str(path), min_severity="critical")]) as gateway:
        gateway.services.alerts.report(ALERT)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_said_and_stops_nothing(tmp_path: Path) -> None:
    channel = FileAlerts(str(tmp_path))
    with Gateway(plugins=[channel]) as gateway:
        told = gateway.alerts.try_out(ALERT)
    assert "cannot be written: Is a directory" in str(told["FileAlerts"])
