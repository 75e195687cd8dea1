"""Brings entries into the books, or where these take none into the outbox, and tells whoever waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.draining import Drain
from llmgate_plugins.ledger.entries import Entry, Step
from llmgate_plugins.ledger.tables import Away
from llmgate_plugins.promises import tell

__all__ = ["Delivery"]

log = logging.getLogger("llmgate.ledger")


class Delivery:
    """Each entry to one of the two, and its promise kept.

    Args:
        write: Writes steps to the books; raises `Away` if they take none.
        drain: Brings rows from the outbox to the books.
        ahead: Whether rows go to the outbox first.
    """

    def __init__(self, write: Callable[[Sequence[Step]], list[Any]], drain: Drain, *, ahead: bool) -> None:
        self._write = write
        self._drain = drain
        self._outbox = drain.outbox
        self._ahead = ahead

    def bring_in(self, entries: Sequence[Entry]) -> None:
        """In the writer's thread: where they belong."""
        steps, told = _made(entries)
        if not steps:
            return
        waiting = self._outbox.waiting  # what comes later must not be faster
        ahead = self._ahead and not self._drain.refuses
        if (waiting or ahead) and self._keep(steps, told, aloud=waiting):
            return
        try:
            answers = self._write(steps)
        except Away as away:
            log.warning("the ledger's database is away, rows go to the outbox: %s", away)
            self._drain.later()
            self._keep(steps, told)
            return
        except Exception as error:  # noqa: BLE001 - the thread must go on; every promise is told
            answers = [error] * len(steps)
        away_at = next((place for place, one in enumerate(answers) if isinstance(one, Away)), None)
        if away_at is not None:  # it went away in the midst of rows that were written one by one
            self._drain.later()
            self._keep(steps[away_at:], told[away_at:])
        self._drain.refuses = any(isinstance(one, Exception) for one in answers[:away_at])
        _log_failed([one for one in answers if isinstance(one, Exception)], len(answers))
        tell(entry.told(answer) for entry, answer in zip(told[:away_at], answers[:away_at], strict=True))

    def _keep(self, steps: Sequence[Step], told: Sequence[Entry], *, aloud: bool = True) -> bool:
        """Into the outbox; those that the watch has put there already go again, which changes nothing.

        Args:
            aloud: Whether promises are told if it takes none; whether they were told is returned.
        """
        try:
            self._outbox.put(steps)
        except StorageError as error:
            if aloud:
                _log_failed([error], len(told))
                tell(entry.told(error) for entry in told)
            return aloud
        tell(entry.told(True if entry.kind == "settle" else None) for entry in told)
        return True

    def keep(self, late: Sequence[Entry]) -> None:
        """In the watch's thread: in the outbox, since the books take too long."""
        steps, told = _made([entry for entry in late if entry.kind != "flush" and not entry.done()])
        if steps:
            log.warning("the ledger's database is slow, %d rows go to the outbox", len(steps))
            self._keep(steps, told)


def _made(entries: Sequence[Entry]) -> tuple[list[Step], list[Entry]]:
    """The rows of these, and which those are of; one that cannot be made fails alone, and is told so."""
    steps: list[Step] = []
    made: list[Entry] = []
    for entry in entries:
        try:
            steps.append(entry.step())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            _log_failed([error], len(entries))
            tell((entry.told(error),))
        else:
            made.append(entry)
    return steps, made


def _log_failed(failed: Sequence[BaseException], count: int) -> None:
    if failed:
        log.error("%d of %d entries were not written to the ledger: %s", len(failed), count, failed[0])
