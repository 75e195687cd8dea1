"""Rows that are safe on disk and not yet in the database: in files, each of one process."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final, NoReturn

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.facts import Facts
from llmgate_plugins.ledger.lines import brief_line, step_in, step_line
from llmgate_plugins.ledger.segments import Extent, Segment
from llmgate_plugins.records import DecisionRecord

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Outbox", "still_waits"]

log = logging.getLogger("llmgate.ledger")

MOST_BYTES: Final = 1 << 30
MOST_SECONDS: Final = 3600.0
REMEMBERED: Final = 10_000
"""From so many rows on, the line of another is to say all there is: its record is not kept for that."""
ANEW: Final = "w"
"""Ends the name of a file that stands in the place of another."""
DYING: Final = 5.0
"""Seconds that a process may take to let go of its files."""


class Outbox:
    """One process's rows for a database, in a directory that all its processes share.

    While a process lives its files (see `Segment`) are locked; those that no process holds are
    taken over by `adopt`. Thread-safe.

    Args:
        directory: Made when first needed.
        sync: Wait for the disk with every append.
        limit: The most bytes to keep.
        patience: The most seconds that rows may wait, and none of them be written, before nothing
            more is taken.

    Attributes:
        taken, given: Rows that were put, and those of them that are written elsewhere.
        since: When a row came that did not have to wait for others, or rows were last written,
            monotonic seconds.
    """

    def __init__(
        self, directory: Path, *, sync: bool, limit: int = MOST_BYTES, patience: float = MOST_SECONDS
    ) -> None:
        self.directory = directory
        self.sync = sync
        self.limit = limit
        self.patience = patience
        self.taken = self.given = 0
        self.since = 0.0
        self._waiting = 0  # bytes
        self._lock = threading.RLock()
        self._files: deque[Segment] = deque()  # the oldest first; the last one is written to
        self._name, self._numbers = "", count(1)
        self._left = False

    @property
    def waiting(self) -> bool:
        """Whether a row of this process waits; after `close`: whether one was left."""
        return self._waiting > 0 or self._left

    def put(self, steps: Sequence[Step]) -> None:
        """Keep these, after those that are kept already.

        Raises:
            StorageError: It is full, has waited too long, or cannot be written. None is kept.
        """
        lines = [step_line(step) for step in steps]
        with self._lock:
            file = self._with_room(sum(map(len, lines)))
            for line in lines:
                file.append(line)
                self.taken += 1
            if self.sync:
                file.sync()

    def put_brief(self, facts: Facts, record: DecisionRecord | None = None) -> None:
        """Keep one, as `put` does, in brief. Never waits for the disk.

        Args:
            record: What has more to say, and is known as long as this process lives.
        """
        line = brief_line(facts)
        with self._lock:
            waiting = self._waiting
            if waiting and self._files[-1].append(line, record):  # what is too much shows with the next file
                self._waiting = waiting + len(line)
            else:
                self._with_room(len(line)).append(line, record)
            self.taken += 1

    def _with_room(self, more: int) -> Segment:
        now, waiting = time.monotonic(), self._waiting
        if not waiting:
            self.since = now
        elif waiting + more > self.limit or now - self.since > self.patience:
            self._refuse(waiting + more)
        self._waiting = waiting + more
        files = self._files
        if files and files[-1].has_room(more):
            return files[-1]
        try:
            files.append(Segment.new(self._next_path(), more))
        except OSError as error:
            self._waiting = waiting
            raise StorageError(f"the outbox {self.directory} cannot be written: {error.strerror}") from error
        return files[-1]

    def _next_path(self) -> Path:
        """Files of one outbox have a name in common, and sort as they were written."""
        self._name = self._name or f"{os.getpid()}-{time.time_ns():x}"
        return self.directory / f"{self._name}-{next(self._numbers):08}.outbox"

    def _refuse(self, size: int) -> NoReturn:
        if size > self.limit:
            raise StorageError(f"the outbox {self.directory} is full: {self.limit} bytes wait there")
        raise StorageError(
            f"the outbox {self.directory} takes no more: its rows have waited for {self.patience:g} s"
        )

    def next(self, count: int) -> tuple[list[Step], int]:
        """The oldest that wait, and what `done` is to be told when they are written."""
        with self._lock:
            rows, mark = self._files[0].read(count) if self._files else ([], 0)
        steps = [step for row in rows if (step := step_in(*row)) is not None]
        if damaged := len(rows) - len(steps):
            log.error("%d lines of the outbox %s are damaged and left out", damaged, self.directory)
        return steps, mark

    def done(self, mark: int, count: int) -> None:
        """So many, up to this mark, are written elsewhere."""
        with self._lock:
            if not self._files:
                return
            file = self._files[0]
            self._waiting -= mark - file.done
            file.forget(mark)
            self.given += count
            self.since = time.monotonic()
            if file.waits:
                return
            if len(self._files) == 1:
                file.begin_anew()
                self._waiting = 0
                self.given = self.taken
            else:
                self._files.popleft().close(remove=True)

    def make_whole(self) -> None:
        """Write anew what says less than it might: it may be another process that reads it."""
        with self._lock:
            for place, file in enumerate(self._files):
                rows, _ = file.read()
                if all(record is None for _, record in rows):
                    continue
                lines = [_whole(*row) for row in rows]
                try:
                    in_its_place = file.path.with_name(f"{file.path.stem}{ANEW}.outbox")
                    anew = Segment.new(in_its_place, sum(map(len, lines)))
                except OSError as error:
                    log.warning("the outbox %s keeps some rows in brief: %s", self.directory, error)
                    return
                for line in lines:
                    anew.append(line)
                self._files[place] = anew
                file.close(remove=True)
            self._waiting = sum(file.end - file.done for file in self._files)

    def others(self) -> int:
        """How many others hold files here now, as each does from its first row on until it is closed."""
        held = {_process_of(path) for path in self.directory.glob("*.outbox") if Segment.is_held(path)}
        return len(held - {self._name})

    def waiting_of_all(self) -> Mapping[Path, Extent]:
        """The files in which rows wait, of every process that has this directory, dead ones included."""
        while True:
            found = {path: Extent.of(path) for path in self.directory.glob("*.outbox")}
            if all(extent is not None or path.exists() for path, extent in found.items()):
                return {path: one for path, one in found.items() if one is not None and one.waiting}
            # One that went while we looked may be written anew, under a name that was not there yet.

    def reject(self, step: Step, error: BaseException) -> None:
        """Keep a row that the database does not take, for people to look at."""
        log.error("the ledger does not take a row of its outbox, which is kept in rejected: %s", error)
        with contextlib.suppress(OSError), (self.directory / "rejected").open("ab") as out:
            out.write(step_line(step))

    def adopt(self) -> Outbox | None:
        """The outbox of a process that is gone, if there is one; close it.

        All its files at once, since what stands in a later one must not come first: a settlement
        before its intent would change nothing."""
        groups: dict[str, list[Path]] = {}
        for path in sorted(self.directory.glob("*.outbox")):
            groups.setdefault(_process_of(path), []).append(path)
        groups.pop(self._name, None)
        for paths in groups.values():
            first = Segment.take_over(paths[0])
            if first is not None:
                other = Outbox(self.directory, sync=self.sync)
                other._files += [first, *filter(None, map(_taken_over, paths[1:]))]
                other._waiting = sum(file.end - file.done for file in other._files)
                return other
        return None

    def close(self) -> None:
        """Let go of the files; one stays if something waits in it."""
        with self._lock:
            self._left, self._waiting = self.waiting, 0
            while self._files:
                file = self._files.popleft()
                file.close(remove=not file.waits)

    def before_fork(self) -> None:
        """Wait until nothing is written."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """In the parent: go on."""
        self._lock.release()

    def forget(self) -> None:
        """In the child: the files are the parent's."""
        self._lock = threading.RLock()
        self._left = False
        self.taken = self.given = self._waiting = 0
        self._name, self._numbers = "", count(1)
        while self._files:
            self._files.popleft().close(remove=False)


def still_waits(path: Path, then: Extent, now: Mapping[Path, Extent]) -> dict[Path, Extent]:
    """The file in which rows wait now that waited in this one then, and how far; none where they are written.

    Args:
        now: As of `waiting_of_all`.
    """
    extent = now.get(path)
    if extent is not None:
        return {path: then} if extent.turn == then.turn and extent.done < then.end else {}
    first = path.stem.rstrip(ANEW)
    return {other: extent for other, extent in now.items() if other.stem.rstrip(ANEW) == first}


def _process_of(path: Path) -> str:
    """What files of one outbox have in common."""
    return path.name.rpartition("-")[0]


def _taken_over(path: Path) -> Segment | None:
    """A further file of a process that is gone: while it dies, it lets go of one after the other."""
    until = time.monotonic() + DYING
    while (file := Segment.take_over(path)) is None and path.exists():
        if time.monotonic() > until:
            log.error("the outbox %s is held, though its process seems to be gone", path)
            return None
        time.sleep(0.01)
    return file


def _whole(line: bytes, record: DecisionRecord | None) -> bytes:
    step = None if record is None else step_in(line, record)
    return line if step is None else step_line(step)
