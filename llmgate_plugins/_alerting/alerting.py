"""Which alerts are told: each once while it goes on, its end if its beginning was, never a flood."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Final
from weakref import WeakSet

from llmgate_plugins._alerting.course import Course
from llmgate_plugins._alerting.outbox import Outbox, hand_over
from llmgate_plugins._asking import Implementation
from llmgate_plugins.alerts import Alert
from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.masking import scrub
from llmgate_plugins.services import Clock, Services, SystemClock

__all__ = ["Alerting"]

log = logging.getLogger("llmgate")

FOUR_HOURS: Final = 4 * 3600.0
CLOSING: Final = 5.0
"""Seconds that alerts on their way get when a gateway is closed, or the program ends."""
MOST_WAITING: Final = 1_000
MOST_KNOWN: Final = 10_000
"""Alerts that are remembered, those that are over included."""
KEPT: Final = 200
LONGEST_TEXT: Final = 2_000
POLL: Final = 0.5
"""Real seconds between looks at the gateway's clock while an end is held back."""


class Alerting:
    """Tells alerts to every plugin that implements `deliver_alert`. One per gateway.

    An alert is told when it begins, when its severity rises, again every `repeat` seconds
    while somebody goes on reporting it, and when it is over. One that comes back within an
    hour is told again, but from then on its end is held back for a minute, and each further
    time for twice as long (up to fifteen): what begins again meanwhile is no news.

    Args:
        repeat: Seconds after which an alert that goes on is told again.
        waiting: So many alerts wait for each channel at most.

    Raises:
        ConfigurationError: A number is not above zero, or two gateways share it.
    """

    def __init__(self, *, repeat: float = FOUR_HOURS, waiting: int = MOST_WAITING) -> None:
        if not repeat > 0 or waiting < 1:
            raise ConfigurationError(f"repeat and waiting must be above 0, not {repeat!r} and {waiting!r}")
        self.repeat = repeat
        self._most_waiting = waiting
        self._connected = False
        self._clock: Clock = SystemClock()
        self._outboxes: tuple[Outbox, ...] = ()
        self._known: dict[tuple[str, str], Course] = {}
        self._held: list[Course] = []
        self._told: deque[Alert] = deque(maxlen=KEPT)
        self._closed = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """What every process has of its own."""
        self._lock = threading.RLock()
        self._watcher: threading.Thread | None = None
        self._stop = threading.Event()
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def connect(self, channels: Sequence[Implementation], services: Services) -> None:
        """Whom to tell. The gateway calls this once.

        Raises:
            ConfigurationError: It belongs to another gateway already.
        """
        if self._connected:
            raise ConfigurationError("one Alerting serves one gateway; make another for the other gateway")
        self._connected, self._clock = True, services.clock
        self._outboxes = tuple(Outbox(one, services, self._most_waiting, self.repeat) for one in channels)

    # ------------------------------------------------------------ reporting

    def report(self, alert: Alert) -> None:
        """Hand an alert over; see `Alerts.report`. Costs next to nothing if it is a repeat."""
        try:
            course = self._known.get((alert.kind, alert.subject))
            if course is None:
                if alert.resolved:
                    return
            elif course.is_repeat(alert, self._clock.monotonic()):
                return
            with self._lock:
                if not self._closed:
                    self._ends(alert) if alert.resolved else self._goes_on(alert)
        except Exception:  # an alert that fails must not stop whoever reports it
            log.exception("an alert could not be reported")

    def _goes_on(self, alert: Alert) -> None:
        course = self._known.get(alert.key) or Course(alert, self._at(alert))
        if course.held_until is not None:
            self._held.remove(course)
        news = course.goes_on(alert, self._clock.monotonic(), self._at(alert), self.repeat)
        if alert.key not in self._known:
            self._known[alert.key] = course
            self._make_room()
        if news:
            self._tell(course, alert)

    def _ends(self, alert: Alert) -> None:
        course, now = self._known.get(alert.key), self._clock.monotonic()
        if course is None or course.held_until is not None:
            return
        if course.ends(alert, now):
            self._over(course, now)
        elif course.held_until is not None:
            self._held.append(course)
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch, name="llmgate-alerts", daemon=True)
                watcher.start()
                self._watcher = watcher

    def _over(self, course: Course, now: float) -> None:
        if course.is_over(now):
            self._tell(course, course.last)

    def _tell(self, course: Course, alert: Alert) -> None:
        notice = replace(
            alert,
            # An end is as severe as what has ended, so that whoever heard of one hears of the other.
            severity=course.severity,
            at=self._at(alert),
            since=course.since,
            id=f"alert_{self._prefix}_{next(self._numbers)}",
            subject=_clean(alert.subject),
            summary=_clean(alert.summary),
            facts={name: _clean(one) if isinstance(one, str) else one for name, one in alert.facts.items()},
        )
        self._told.append(notice)
        for outbox in self._outboxes:
            outbox.put(notice)

    def _at(self, alert: Alert) -> float:
        return alert.at if alert.at is not None else self._clock.time()

    def _make_room(self) -> None:
        if len(self._known) > MOST_KNOWN:
            first = list(islice(self._known, 64))
            over = (key for key in first if self._known[key].over_at is not None)
            del self._known[next(over, first[0])]

    # ------------------------------------------------------------ ends that are held back

    def _watch(self) -> None:
        stop = self._stop
        while not stop.wait(POLL):
            with self._lock:
                if not self._release():
                    self._watcher = None
                    return

    def _release(self, *, all_of_them: bool = False) -> bool:
        """Tell the ends that were held back for long enough; whether others are left."""
        now = self._clock.monotonic()
        for course in list(self._held):
            if all_of_them or course.held_until is None or now >= course.held_until:
                self._held.remove(course)
                self._over(course, now)
        return bool(self._held)

    # ------------------------------------------------------------ looking in, and the end

    @property
    def recent(self) -> tuple[Alert, ...]:
        """The last 200 that were told, oldest first."""
        with self._lock:
            return tuple(self._told)

    @property
    def ongoing(self) -> tuple[Alert, ...]:
        """What goes on now, as it was last reported, oldest first."""
        with self._lock:
            return tuple(
                replace(one.last, severity=one.severity, since=one.since, resolved=False)
                for one in self._known.values()
                if one.over_at is None
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the plugins that are told."""
        return tuple(outbox.channel.plugin for outbox in self._outboxes)

    @property
    def dropped(self) -> int:
        """How many alerts were pushed out because a channel was too slow."""
        return sum(outbox.dropped for outbox in self._outboxes)

    @property
    def failed(self) -> int:
        """How many alerts a channel could not deliver, for good."""
        return sum(outbox.failed for outbox in self._outboxes)

    def try_out(self, alert: Alert) -> dict[str, Exception | None]:
        """Tell every channel now, in this thread, whatever was told before; what each of them raised."""
        at = self._at(alert)
        notice = replace(alert, at=at, since=at, id=f"alert_{self._prefix}_{next(self._numbers)}")
        found: dict[str, Exception | None] = {}
        for outbox in self._outboxes:
            try:
                hand_over(outbox.channel, notice, outbox.services)
            except Exception as error:  # noqa: BLE001 - whatever a channel raises
                found[outbox.channel.plugin] = error
            else:
                found[outbox.channel.plugin] = None
        return found

    def flush(self, seconds: float = CLOSING) -> bool:
        """Wait until all that was reported is told, for so many seconds at most; whether it is."""
        return self._flush(time.monotonic() + seconds)

    def _flush(self, until: float, *, leaving: bool = False) -> bool:
        with self._lock:
            self._release()
        for outbox in self._outboxes:
            outbox.hurry(leaving=leaving)
        empty = [outbox.empty(until) for outbox in self._outboxes]  # each, also after one that is late
        return all(empty)

    def close(self, seconds: float = CLOSING) -> None:
        """Flush, and tell nothing more. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._stop.set()
            self._release(all_of_them=True)
        if not self._flush(time.monotonic() + seconds, leaving=True):
            waiting = {one.channel.plugin: one.waiting for one in self._outboxes if one.waiting}
            log.error("alerts were not told within %g s: %s", seconds, waiting)


def _clean(text: str) -> str:
    """Without secrets, and of a length that every channel takes."""
    text = scrub(text)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


_all: Final[WeakSet[Alerting]] = WeakSet()


def _forked() -> None:
    """The parent tells what waits; the child tells what begins in it, and of that alone the end."""
    for one in list(_all):
        one._begin()
        for outbox in one._outboxes:
            outbox.forget()
        for course in one._known.values():
            course.told = False
        one._release(all_of_them=True)


def _leave() -> None:
    """The program ends: threads that are daemons end with it, so what waits is told now."""
    until = time.monotonic() + CLOSING
    for one in list(_all):
        one._flush(until, leaving=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_leave)
