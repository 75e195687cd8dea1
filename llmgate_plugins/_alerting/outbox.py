"""Alerts on their way to one channel, and the thread that hands them over."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, Final

from llmgate_plugins._alerting.claims import Claims
from llmgate_plugins._asking import Implementation
from llmgate_plugins._driving.private_loop import run_on_private_loop
from llmgate_plugins.alerts import SEVERITIES, Alert
from llmgate_plugins.errors import AlertUndelivered
from llmgate_plugins.redaction import redact_error
from llmgate_plugins.services import Services, is_pending

__all__ = ["Outbox", "hand_over"]

log = logging.getLogger("llmgate")

IDLE: Final = 1.0
"""Seconds without anything to do after which the thread ends; the next alert starts another."""
LONGEST: Final = 600.0
"""Seconds an `async def` channel may take for one alert."""


class Outbox:
    """What one channel has still to be told. Thread-safe; its thread is a daemon.

    Args:
        channel: Whom to tell.
        services: What the channel is handed.
        most: So many alerts wait at most. One too many pushes out the oldest of the least severe.
        repeat: Seconds after which an alert that goes on is told again.

    Attributes:
        dropped: How many were pushed out.
        failed: How many the channel could not deliver.
    """

    def __init__(self, channel: Implementation, services: Services, most: int, repeat: float) -> None:
        self.channel = channel
        self.dropped = self.failed = 0
        self.services = services
        self._most = most
        self._claims = Claims(services, channel.plugin, repeat)
        self.forget()

    def forget(self) -> None:
        """Begin anew, without whatever waits: in a process that has just been forked."""
        self._waiting: deque[Alert] = deque()
        self._untold: set[tuple[str, str]] = set()
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._busy = False

    def put(self, alert: Alert) -> None:
        """Have it told. Never waits for the channel."""
        with self._changed:
            if alert.resolved and alert.key in self._untold:
                self._untold.discard(alert.key)  # nobody knows that it had begun
                return
            if len(self._waiting) >= self._most:
                self._push_out()
            self._waiting.append(alert)
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name=f"llmgate-alerts-{self.channel.plugin}", daemon=True
                )
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def empty(self, until: float) -> bool:
        """Wait until everything is told, up to this time (`time.monotonic`); whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._busy, max(until - time.monotonic(), 0.0)
            )

    @property
    def waiting(self) -> int:
        """How many are not told yet."""
        return len(self._waiting) + self._busy

    def _push_out(self) -> None:
        least = min((one.severity for one in self._waiting), key=SEVERITIES.index)
        place = next(place for place, one in enumerate(self._waiting) if one.severity == least)
        self._missed(self._waiting[place])
        del self._waiting[place]
        self.dropped += 1

    def _missed(self, alert: Alert) -> None:
        """Its end is not told either."""
        if not alert.resolved and len(self._untold) < self._most:
            self._untold.add(alert.key)

    def _run(self) -> None:
        changed = self._changed
        while True:
            with changed:
                self._busy = False
                changed.notify_all()
                if not changed.wait_for(lambda: self._waiting, IDLE):
                    self._thread = None
                    return
                alert = self._waiting.popleft()
                self._busy = True
            try:
                if self._claims.tells(alert):
                    hand_over(self.channel, alert, self.services)
            except Exception as error:
                with changed:
                    self.failed += 1
                    self._missed(alert)
                told = f"{type(error).__name__}: {error}"
                # A trace through a channel's client helps nobody; one of a mistake in the channel does.
                trace = None if isinstance(error, AlertUndelivered | OSError) else error
                log.error(  # noqa: TRY400 - see above
                    "%s could not deliver the alert %s: %s",
                    self.channel.plugin,
                    alert.key,
                    told,
                    exc_info=trace,
                )
            else:
                self._untold.discard(alert.key)


def hand_over(channel: Implementation, alert: Alert, services: Services) -> None:
    """Tell one channel, in this thread, and wait until it has done what it does.

    Raises:
        Exception: What the channel raised, without credentials.
    """
    try:
        answer: Any = channel.ask(alert, services)
        if isinstance(answer, Future):
            answer.result(LONGEST)
        elif is_pending(answer):
            run_on_private_loop(answer, LONGEST)
    except Exception as error:
        redact_error(error)
        raise
