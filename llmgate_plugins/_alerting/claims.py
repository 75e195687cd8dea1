"""Of many processes that report the same alert, one tells a channel: by a claim in what they share."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from hashlib import blake2b
from typing import Any, Final

from llmgate_plugins._driving.private_loop import run_on_private_loop
from llmgate_plugins.alerts import Alert
from llmgate_plugins.promises import Promise
from llmgate_plugins.services import Services, is_pending

__all__ = ["Claims"]

log = logging.getLogger("llmgate")

PATIENCE: Final = 5.0
"""Seconds for an answer of the state."""
KEPT: Final = 30 * 86_400.0
"""Seconds for which it is known how often an alert has ended."""
MOST: Final = 1_000
"""Alerts that were told without a claim and of which that is remembered."""
MARGIN: Final = 0.9
"""Part of the time until an alert is repeated for which it counts as told, so that it is over by then."""
CLAIMED: Final = 120.0
"""Seconds for which a claim lasts; by then the channel has been told, or whoever claimed it may be gone."""


class Claims:
    """Who tells one channel, counted in the state that processes share, or else in their books.

    Each beginning of an alert, in each severity, is claimed by the first that reports it, and so is
    its end. A claim is short: only what has arrived (`arrived`) counts as told for long, also where
    the process that told it is gone by now. Everybody tells where processes share neither,
    where the channel is this process' own (`local`), and where there is no answer: rather twice than
    not at all. For threads in which nobody waits for an answer.

    Args:
        channel: Its name.
        repeat: Seconds after which an alert that goes on is told again.
    """

    def __init__(self, services: Services, channel: str, repeat: float) -> None:
        plugin = next((one for name, one in services.plugins if name == channel), None)
        self._counters: Any = None if getattr(plugin, "local", False) else _counters(services)
        self._clock = services.clock
        self._channel = channel
        self._plugin = plugin
        self._repeat = repeat
        self._unclaimed: set[tuple[str, str]] = set()  # told while there was no answer

    def tells(self, alert: Alert) -> bool:
        """Whether this process is the one to tell it."""
        if self._counters is None:
            return True
        if alert.resolved and alert.key in self._unclaimed:
            self._unclaimed.discard(alert.key)  # no other process knows that this one has told it
            return True
        try:
            return self._claim(alert)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being counted
            log.debug("who tells the alert %s is not known, so it is told: %s", alert.key, error)
            if not alert.resolved and len(self._unclaimed) < MOST:
                self._unclaimed.add(alert.key)
            return True

    def arrived(self, alert: Alert) -> None:
        """The channel was told by this process: nobody need tell it again for as long as it goes on."""
        if self._counters is None or alert.resolved:
            return
        try:
            name, ended = self._course(alert)
            self._add(self._told(name, ended, alert), 1, self._lasts(alert))
        except Exception as error:  # noqa: BLE001 - others tell it, too
            log.debug("others do not know that the alert %s was told: %s", alert.key, error)

    def was_told(self, alert: Alert) -> bool:
        """Whether another process has told it since, as far as is known."""
        if self._counters is None or alert.resolved:
            return False
        try:
            name, ended = self._course(alert)
            return self._add(self._told(name, ended, alert), 0, self._lasts(alert)) > 0
        except Exception as error:  # noqa: BLE001 - rather twice than not at all
            log.debug("whether the alert %s was told is not known: %s", alert.key, error)
            return False

    def _claim(self, alert: Alert) -> bool:
        name, ended = self._course(alert)
        begun = f"{name}:{ended}:begun"
        if not alert.resolved:
            self._add(begun, 1, KEPT)
            if self._add(self._told(name, ended, alert), 0, self._lasts(alert)):
                return False
            return self._add(f"{name}:{ended}:{alert.severity}:claimed", 1, CLAIMED) == 1
        if self._add(begun, 0, KEPT) == 0 or self._add(f"{name}:{ended}:over", 1, KEPT) > 1:
            return False  # another process has told that it is over
        self._add(f"{name}:ended", 1, KEPT)
        return True

    def _course(self, alert: Alert) -> tuple[str, int]:
        """What its counters are called, and how often it has ended."""
        until = "" if alert.until is None else f"{alert.until:.0f}"  # in another window it is another
        where = getattr(self._plugin, "destination", "")
        what = "\0".join((self._channel, where, until, *alert.key)).encode("utf-8", "surrogatepass")
        name = f"alert:{blake2b(what, digest_size=12).hexdigest()}"
        return name, self._add(f"{name}:ended", 0, KEPT)

    def _told(self, name: str, ended: int, alert: Alert) -> str:
        return f"{name}:{ended}:{alert.severity}:told"

    def _lasts(self, alert: Alert) -> float:
        """Seconds for which it counts as told."""
        left = 0.0 if alert.until is None else alert.until - self._clock.time()
        return max(MARGIN * self._repeat, left)

    def _add(self, key: str, amount: int, ttl: float) -> int:
        answer: Any = self._counters.add(key, amount, ttl=ttl)
        if isinstance(answer, Future | Promise):
            return int(answer.result(PATIENCE))
        return int(run_on_private_loop(answer, PATIENCE) if is_pending(answer) else answer)


def _counters(services: Services) -> Any:
    """What all processes that report the same count in; None if there is nothing."""
    if getattr(services.state, "shared", False) is True:
        return services.state
    of_books = getattr(services.ledger, "counters", None)
    return None if of_books is None else of_books(services.clock)
