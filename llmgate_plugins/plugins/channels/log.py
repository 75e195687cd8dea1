"""Alerts in the log of the program: nothing to set up, and nothing that can be out of reach."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.channels.wanted import Wanted
from llmgate_plugins.plugins.channels.wording import headline, one_line

__all__ = ["LogChannel"]

LEVELS: Final[Mapping[Severity, int]] = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "critical": logging.CRITICAL,
}


class LogChannel:
    """Writes alerts to the logger "llmgate.alerts"; the end of one as INFO.

    The record has the whole alert as its attribute `alert`, for formatters that write JSON.
    A program that has set up no logging shows nothing.

    Args:
        min_severity: The least severe that is written: "info", "warning" or "critical".
        kinds: Kinds that are written; empty for all.
        logger: Name of the logger.

    Raises:
        ValueError: An argument is none of those allowed.
    """

    local = True
    """Each process has a log of its own, and so tells every alert there."""

    def __init__(
        self,
        *,
        min_severity: Severity = "info",
        kinds: Sequence[str] = (),
        logger: str = "llmgate.alerts",
    ) -> None:
        self.wanted = Wanted(min_severity, kinds)
        self._log = logging.getLogger(logger)
        if (
            not self._log.handlers
        ):  # else Python itself writes warnings to stderr, amid a program's own output
            self._log.addHandler(logging.NullHandler())

    @hookimpl
    def deliver_alert(self, alert: Alert) -> None:
        """One line."""
        if alert in self.wanted:
            level = logging.INFO if alert.resolved else LEVELS[alert.severity]
            line = f"{headline(alert)} ({one_line(alert.kind)}: {one_line(alert.subject)})"
            self._log.log(level, "%s", line, extra={"alert": alert.to_dict()})
