"""Alerts as lines of JSON in a file, for whatever collects such files."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from llmgate_plugins import Alert, AlertUndelivered, hookimpl
from llmgate_plugins.alerts import Severity
from llmgate_plugins.plugins.channels import Wanted


class FileAlerts:
    """Appends each alert to a file, as one line of JSON.

    Args:
        path: The file; made when there is something to write.
        min_severity: The least severe that is written: "info", "warning" or "critical".
        kinds: Kinds that are written; empty for all.
    """

    def __init__(self, path: str, *, min_severity: Severity = "info", kinds: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.wanted = Wanted(min_severity, kinds)
        self._lock = threading.Lock()

    @hookimpl
    def deliver_alert(self, alert: Alert) -> None:
        if alert not in self.wanted:
            return
        line = json.dumps(alert.to_dict(), ensure_ascii=False)
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise AlertUndelivered(f"{self.path} cannot be written: {error.strerror}") from error
