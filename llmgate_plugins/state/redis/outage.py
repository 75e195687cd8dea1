"""Whether a server is down: known after a few failures, so that nobody waits for it any more."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from llmgate_plugins.errors import StorageError

__all__ = ["FAILURES", "Outage"]

log = logging.getLogger("llmgate.state")

FAILURES: Final = 5
"""Failures in a row after which the server is not asked any more."""


class Outage:
    """Counts failures. Once it is down, the background thread alone looks whether it is back.

    Args:
        shown: Names the server.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self._failures = 0
        self._since: float | None = None
        self._why = ""

    def over(self) -> bool:
        """Whether the server counts as down."""
        return self._since is not None

    def failing(self) -> bool:
        """Whether it did not answer when it was asked last; it may be about to count as down."""
        return self._failures > 0

    def failed(self, error: BaseException) -> None:
        """It did not answer."""
        with self._lock:
            self._failures += 1
            self._why = type(error).__name__
            if self._failures == FAILURES and self._since is None:
                self._since = time.monotonic()
                log.error(
                    "the state at %s is down (%s): limits go by what this process was left, until it is back",
                    self._shown,
                    self._why,
                )

    def ended(self) -> None:
        """It answered."""
        if not self._failures:
            return
        with self._lock:
            since, self._since, self._failures = self._since, None, 0
        if since is not None:
            log.warning("the state at %s is back after %.1f s", self._shown, time.monotonic() - since)

    def error(self) -> StorageError:
        """What to tell who wanted to ask."""
        return StorageError(f"the state at {self._shown} cannot be reached: {self._why}")
