"""Alerts on their way to one channel, and the thread that hands them over."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, Final
from weakref import ref

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
POLL: Final = 0.5
"""Real seconds between looks at the gateway's clock while a channel is out of reach."""
FIRST_PAUSE: Final = 60.0
LONGEST_PAUSE: Final = 600.0
"""Seconds for which a channel that is out of reach is left alone; each time twice as long, up to this."""
KEPT: Final = 86_400.0
"""Seconds for which an alert waits for its channel to be back."""
MOST_TOLD: Final = 10_000
"""Alerts that go on of which it is known that the channel was told."""


class Outbox:
    """What one channel has still to be told. Thread-safe; its thread is a daemon.

    An alert that did not arrive, but may later (`AlertUndelivered(passing=True)`), is kept and sent
    again for up to a day, unless it is over by then: then neither is told. The channel is left
    alone for a while each time, longer and longer.

    Args:
        channel: Whom to tell.
        services: What the channel is handed.
        most: So many alerts wait at most. One too many pushes out the oldest of the least severe.
        repeat: Seconds after which an alert that goes on is told again.

    Attributes:
        dropped: How many were pushed out.
        failed: How many the channel could not deliver, for good.
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
        self._kept: dict[str, float] = {}  # id of one that did not arrive -> until when it is sent again
        self._told: dict[tuple[str, str], None] = {}
        self._untold: set[tuple[str, str]] = set()
        self._pause = 0.0
        self._paused_until = -float("inf")
        self._leaving = False
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._busy = False

    def put(self, alert: Alert) -> None:
        """Have it told. Never waits for the channel."""
        with self._changed:
            for older in [one for one in self._waiting if one.id in self._kept and one.key == alert.key]:
                self._waiting.remove(older)  # this one says more, or that it is over
                self._missed(older)
            if len(self._waiting) >= self._most:
                if alert.resolved and alert.key in self._untold:
                    self._untold.discard(alert.key)
                    return
                self._push_out()
            self._waiting.append(alert)
            if self._thread is None:
                thread = threading.Thread(
                    target=_run,
                    args=(ref(self), self._changed),
                    name=f"llmgate-alerts-{self.channel.plugin}",
                    daemon=True,
                )
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def hurry(self, *, leaving: bool = False) -> None:
        """Send again now what waits for the channel to be back; if leaving, for the last time."""
        with self._changed:
            self._leaving = self._leaving or leaving
            self._paused_until = -float("inf")
            self._changed.notify_all()

    def empty(self, until: float) -> bool:
        """Wait until all is told that can be, up to this time (`time.monotonic`); whether all is."""
        with self._changed:
            at_rest = self._changed.wait_for(
                lambda: not self._busy and (not self._waiting or self._is_paused()),
                max(until - time.monotonic(), 0.0),
            )
            return at_rest and not self._waiting

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
        """Its end is not told either, unless something of it was."""
        self._kept.pop(alert.id, None)
        if not alert.resolved and alert.key not in self._told and len(self._untold) < self._most:
            self._untold.add(alert.key)

    # ------------------------------------------------------------ in the thread

    def _next(self, *, idle: bool) -> Alert | float | None:
        """The next one, or seconds to wait for it; None if the thread has been idle and is to end."""
        self._busy = False
        self._changed.notify_all()
        if not self._waiting:
            if idle:
                self._thread = None
                return None
            return IDLE
        if self._is_paused():
            return POLL
        self._busy = True
        return self._waiting.popleft()

    def _deliver(self, alert: Alert) -> None:
        try:
            self._tell(alert)
        except Exception as error:  # noqa: BLE001 - whatever a channel raises
            self._undelivered(alert, error)
        else:
            self._arrived(alert)

    def _is_paused(self) -> bool:
        return self.services.clock.monotonic() < self._paused_until

    def _tell(self, alert: Alert) -> None:
        if alert.resolved and alert.key in self._untold:
            self._claims.tells(alert)  # nobody here knows that it had begun, and others need not tell it
        elif not self._claims.was_told(alert) if alert.id in self._kept else self._claims.tells(alert):
            hand_over(self.channel, alert, self.services)
            self._claims.arrived(alert)

    def _arrived(self, alert: Alert) -> None:
        with self._changed:
            self._kept.pop(alert.id, None)
            self._untold.discard(alert.key)
            self._pause = 0.0
            if alert.resolved:
                self._told.pop(alert.key, None)
            else:
                self._told[alert.key] = None
                if len(self._told) > MOST_TOLD:
                    del self._told[next(iter(self._told))]

    def _undelivered(self, alert: Alert, error: Exception) -> None:
        again = (
            isinstance(error, AlertUndelivered) and error.passing and self._keeps(alert, error.wait or 0.0)
        )
        if not again:
            with self._changed:
                self.failed += 1
                self._missed(alert)
        told = f"{type(error).__name__}: {error}"
        # A trace through a channel's client helps nobody; one of a mistake in the channel does.
        trace = None if isinstance(error, AlertUndelivered | OSError) else error
        log.error(
            "%s could not deliver the alert %s: %s%s",
            self.channel.plugin,
            alert.key,
            told,
            "; it is sent again later" if again else "",
            exc_info=trace,
        )

    def _keeps(self, alert: Alert, wait: float) -> bool:
        """Leave the channel alone for a while; whether this alert is sent again then."""
        with self._changed:
            if self._leaving:
                return False
            now = self.services.clock.monotonic()
            self._pause = min(max(2 * self._pause, FIRST_PAUSE, wait), LONGEST_PAUSE)
            self._paused_until = now + self._pause
            newer = any(one.key == alert.key for one in self._waiting)
            late = now >= self._kept.setdefault(alert.id, now + KEPT)
            if newer or late or len(self._waiting) >= self._most:
                return False
            self._waiting.append(alert)
            return True


def _run(outbox: ref[Outbox], changed: threading.Condition) -> None:
    """Hand over what there is. While it waits, nobody but its gateway holds on to the outbox."""
    idle = False
    while (there := outbox()) is not None:
        with changed:
            found = there._next(idle=idle)
            if isinstance(found, float):
                del there
                idle = not changed.wait(found)
                continue
        if found is None:
            return
        there._deliver(found)


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
