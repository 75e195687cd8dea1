"""What a source of model cards is, and how one is read: late, once, by any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from llmgate_plugins.catalog.card import ModelCard
from llmgate_plugins.catalog.names import NameIndex

__all__ = ["Source", "SourceAbsent", "SourceStatus", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """Whether a source can be used.

    Attributes:
        name: "litellm" or "genai-prices".
        available: Whether it has anything.
        entries: How many models it describes.
        as_of: Its version and the date of its file.
        reason: Why it is not available, and what to do about it.
    """

    name: str
    available: bool
    entries: int = 0
    as_of: str = ""
    reason: str = ""


class SourceAbsent(Exception):
    """This source cannot be used; the message says why and what to do."""


class Source(Protocol):
    """Where cards come from. Reads nothing before it is asked, and then once."""

    @property
    def name(self) -> str:
        """Its name in provenance."""

    def status(self) -> SourceStatus:
        """Whether it can be used."""

    def find(self, provider: str, model: str, region: str | None = None) -> ModelCard | None:
        """The card of exactly this model; `provider` is canonical, or "" for none."""

    def providers(self) -> frozenset[str]:
        """All canonical provider names."""

    def cards(self) -> Iterator[ModelCard]:
        """Every card."""


class Table:
    """A source that is read from a file into an index.

    Cards are made when asked for and kept, so that a program pays for the models it
    uses, not for the thousands it does not.

    Args:
        name: Its name in provenance.
        load: Reads the file: an index of entries, and the source's version and date.
            Raises `SourceAbsent`.
        make: Makes a card of an entry.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], tuple[NameIndex[Any], list[Any], str]],
        make: Callable[[Any, str], ModelCard],
    ) -> None:
        self.name = name
        self._load = load
        self._make = make
        self._lock = threading.Lock()
        self._content: tuple[NameIndex[Any], list[Any], str] | None = None
        self._status: SourceStatus | None = None
        self._made: dict[int, ModelCard] = {}

    def status(self) -> SourceStatus:
        """Whether it can be used. Reads the file if nobody has."""
        if self._status is None:
            with self._lock:
                if self._status is None:
                    self._read()
        assert self._status is not None  # noqa: S101 - set by _read
        return self._status

    def find(self, provider: str, model: str, region: str | None = None) -> ModelCard | None:
        """The card of exactly this model, or None."""
        if not self.status().available or self._content is None:
            return None
        entry = self._content[0].find(provider, model, region)
        return None if entry is None else self._card(entry)

    def providers(self) -> frozenset[str]:
        """All canonical provider names."""
        if not self.status().available or self._content is None:
            return frozenset()
        return frozenset(self._content[0].providers - {""})

    def cards(self) -> Iterator[ModelCard]:
        """Every card, in the source's order."""
        if self.status().available and self._content is not None:
            yield from map(self._card, self._content[1])

    def _card(self, entry: Any) -> ModelCard:
        """The card of an entry. Two threads may make it at once; they make the same one."""
        card = self._made.get(id(entry))
        if card is None:
            card = self._made.setdefault(id(entry), self._make(entry, self.status().as_of))
        return card

    def _read(self) -> None:
        try:
            content = self._load()
        except SourceAbsent as absent:
            self._status = SourceStatus(name=self.name, available=False, reason=str(absent))
            return
        self._content = content
        self._status = SourceStatus(name=self.name, available=True, entries=len(content[1]), as_of=content[2])


def version_and_date(version: str, file: Path) -> str:
    """How a source is dated: "1.106.2 (2026-11-23)", the day its file was written."""
    day = datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    return f"{version} ({day})" if version else str(day)
