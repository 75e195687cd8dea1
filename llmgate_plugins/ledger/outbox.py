"""Rows that wait on disk while the database takes none: an append-only file per process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from llmgate_plugins.errors import StorageError
from llmgate_plugins.ledger.entries import Step
from llmgate_plugins.ledger.plain import dump_json

try:
    import fcntl
except ImportError:  # Windows: an open file cannot be renamed there, which says as much
    fcntl = None  # type: ignore[assignment]

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Outbox"]

log = logging.getLogger("llmgate.ledger")

MOST_BYTES: Final = 1 << 30
MOST_SECONDS: Final = 3600.0


class Outbox:
    """One process's rows for a database that is away, in a directory that all its processes share.

    One line for each row: a checksum (CRC-32, eight hex digits), a space, JSON. A line that a
    crash has cut was acknowledged to nobody. While a process lives its file is locked; files
    that no process holds are taken over by `adopt`. Thread-safe.

    Args:
        directory: Made when first needed.
        sync: Wait for the disk with every append.
        limit: The most bytes to keep.
        patience: The most seconds the oldest of them may wait before nothing more is taken.
    """

    def __init__(
        self, directory: Path, *, sync: bool, limit: int = MOST_BYTES, patience: float = MOST_SECONDS
    ) -> None:
        self.directory = directory
        self.sync = sync
        self.limit = limit
        self.patience = patience
        self._lock = threading.RLock()
        self._file: _File | None = None
        self._since = 0.0
        self._left = False

    @property
    def waiting(self) -> bool:
        """Whether a row of this process waits; after `close`: whether one was left."""
        file = self._file
        return self._left if file is None else file.done < file.size

    @property
    def anybody_waits(self) -> bool:
        """Whether a row of any process that has this directory waits, dead ones included."""
        for path in self.directory.glob("*.outbox"):
            with contextlib.suppress(OSError):  # it was emptied and is gone
                if path.stat().st_size:
                    return True
        return False

    def put(self, steps: Sequence[Step]) -> None:
        """Keep these, after those that are kept already.

        Raises:
            StorageError: It is full, has waited too long, or cannot be written. None is kept.
        """
        lines = b"".join(map(_line, steps))
        with self._lock:
            try:
                if self._file is None:
                    self._file = _File.new(self.directory)
                file = self._file
                if file.done >= file.size:
                    self._since = time.monotonic()
                self._refuse_more(file, len(lines))
                file.append(lines, sync=self.sync)
            except OSError as error:
                raise StorageError(
                    f"the outbox {self.directory} cannot be written: {error.strerror}"
                ) from error

    def _refuse_more(self, file: _File, more: int) -> None:
        if file.size - file.done + more > self.limit:
            raise StorageError(f"the outbox {self.directory} is full: {self.limit} bytes wait there")
        if time.monotonic() - self._since > self.patience:
            raise StorageError(
                f"the outbox {self.directory} takes no more: its rows have waited for {self.patience:g} s"
            )

    def next(self, count: int) -> tuple[list[Step], int]:
        """The oldest that wait, and what `done` is to be told when they are written."""
        with self._lock:
            return ([], 0) if self._file is None else self._file.read(count)

    def done(self, mark: int) -> None:
        """All up to this mark are written elsewhere."""
        with self._lock:
            if self._file is not None:
                self._file.done = mark
                if not self.waiting:
                    self._file.empty()

    def reject(self, step: Step, error: BaseException) -> None:
        """Keep a row that the database does not take, for people to look at."""
        log.error("the ledger does not take a row of its outbox, which is kept in rejected: %s", error)
        with contextlib.suppress(OSError), (self.directory / "rejected").open("ab") as out:
            out.write(_line(step))

    def adopt(self) -> Outbox | None:
        """The outbox of a process that is gone, if there is one; close it."""
        for path in sorted(self.directory.glob("*.outbox")):
            if self._file is not None and path == self._file.path:
                continue
            file = _File.take_over(path)
            if file is not None:
                other = Outbox(self.directory, sync=self.sync)
                other._file = file
                return other
        return None

    def close(self) -> None:
        """Let go of the file; it stays if something waits in it."""
        with self._lock:
            self._left = self.waiting
            file, self._file = self._file, None
            if file is not None:
                file.close(remove=not self._left)

    def before_fork(self) -> None:
        """Wait until nothing is written."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """In the parent: go on."""
        self._lock.release()

    def forget(self) -> None:
        """In the child: the file is the parent's."""
        self._lock = threading.RLock()
        self._left = False
        file, self._file = self._file, None
        if file is not None:
            file.close(remove=False)


class _File:
    """A locked file of lines: `done` bytes of `size` need not be read any more."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self.done = 0
        self._descriptor = descriptor

    @classmethod
    def new(cls, directory: Path) -> _File:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{os.getpid()}-{time.time_ns():x}.outbox"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        file = cls(path, os.open(path, flags, 0o600), 0)
        file._hold()
        return file

    @classmethod
    def take_over(cls, path: Path) -> _File | None:
        """The file of a process that is gone; None if it is not."""
        try:
            if fcntl is None:
                path = path.rename(path.with_name(f"{os.getpid()}-{time.time_ns():x}.outbox"))
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        file = cls(path, descriptor, os.fstat(descriptor).st_size)
        if file._hold() and path.exists():
            return file
        os.close(descriptor)
        return None

    def _hold(self) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def append(self, lines: bytes, *, sync: bool) -> None:
        """All of it or none."""
        try:
            os.lseek(self._descriptor, self.size, os.SEEK_SET)
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if sync:
                os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)

    def read(self, count: int) -> tuple[list[Step], int]:
        steps: list[Step] = []
        mark = self.done
        with os.fdopen(os.dup(self._descriptor), "rb") as lines:
            lines.seek(self.done)
            for line in lines:
                if len(steps) == count or mark >= self.size:
                    break
                mark += len(line)
                step = _step(line)
                if step is not None:
                    steps.append(step)
                elif line.endswith(b"\n"):  # the end of a file that a crash has cut is no line
                    log.error("a line of the outbox %s is damaged and left out", self.path)
        return steps, mark

    def empty(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self.done = self.size = 0

    def close(self, *, remove: bool) -> None:
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)


def _line(step: Step) -> bytes:
    text = dump_json({"kind": step.kind, "values": step.values}).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _step(line: bytes) -> Step | None:
    """The row of a line; None if the line is not whole."""
    text = line[9:-1]
    try:
        if line[-1:] != b"\n" or int(line[:8], 16) != zlib.crc32(text):
            return None
        read: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return Step(read["kind"], read["values"])
