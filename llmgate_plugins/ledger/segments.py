"""A file of lines that outlives its process: mapped into memory, so that to keep one is to copy it there."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import time
from collections import deque
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import Final, NamedTuple

from llmgate_plugins.records import DecisionRecord

try:
    import fcntl
except ImportError:  # Windows: an open file cannot be renamed there, which says as much
    fcntl = None  # type: ignore[assignment]

__all__ = ["Extent", "Segment"]

log = logging.getLogger("llmgate.ledger")

SIZE: Final = 1 << 20
"""Bytes of a segment; one for a longer row has as many as that needs."""
_HEAD: Final = Struct("<8sQQQ")
_set_end: Final = Struct("<Q").pack_into
_END_AT: Final = 16
"""Where in the head its end stands."""
_MARK: Final = b"llmgate1"
_CANNOT_RESERVE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system says that knows no such thing: there the room is written."""
_BEGIN: Final = 64
"""Where the rows begin, after the head."""


_NONE: Final[tuple[int, DecisionRecord | None]] = (-1, None)


class Extent(NamedTuple):
    """How far a segment is written, and how far its rows are done with.

    Attributes:
        turn: How often it was begun anew, after all its rows were done with.
        end, done: Bytes from its beginning.
    """

    turn: int
    end: int
    done: int

    @classmethod
    def of(cls, path: Path) -> Extent | None:
        """Of a segment of any process; None if it is not there, or none."""
        try:
            with path.open("rb") as file:
                mark, *numbers = _HEAD.unpack(file.read(_HEAD.size))
        except (OSError, struct_error):
            return None
        return cls(*numbers) if mark == _MARK else None

    @property
    def waiting(self) -> int:
        """Bytes of rows that are not done with."""
        return self.end - self.done


class Segment:
    """A locked file of lines: the bytes from `done` up to `end` wait.

    What is copied to a mapped file is the system's: the death of the process takes nothing of it
    along. The file has all its room from the beginning, so that a full disk shows when it is made.
    """

    __slots__ = ("_descriptor", "_map", "_remembered", "_room", "_turn", "done", "end", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)
        self._room = len(self._map)
        # Where a line begins that does not say all, and what does. More of the rows is not kept: what
        # would live on in memory until it is written elsewhere costs a call as much as all the rest.
        self._remembered: deque[tuple[int, DecisionRecord]] = deque()
        mark, turn, end, done = _HEAD.unpack_from(self._map)
        self._turn: int = turn
        self.end: int = end
        self.done: int = done
        if mark != _MARK or not _BEGIN <= self.done <= self.end <= len(self._map):
            log.error("the outbox %s is damaged; what can be read of it is", path)
            self._turn, self.end, self.done = 0, len(self._map), _BEGIN

    @classmethod
    def new(cls, path: Path, least: int) -> Segment:
        """An empty one with room for so many bytes. Raises `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".new")  # nobody may find it before it is held
        if fcntl is None:
            made = path
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        descriptor = os.open(made, flags, 0o600)
        try:
            _hold(descriptor)
            _make_room(descriptor, max(SIZE, _BEGIN + least))
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, _HEAD.pack(_MARK, 0, _BEGIN, _BEGIN))
            segment = cls(path, descriptor)
            if made is not path:
                made.rename(path)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                made.unlink()
            raise
        return segment

    @classmethod
    def take_over(cls, path: Path) -> Segment | None:
        """That of a process that is gone; None if it is not."""
        try:
            if fcntl is None:
                path = path.rename(path.with_name(f"{os.getpid()}-{time.time_ns():x}-{path.name}"))
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        if _hold(descriptor) and path.exists():
            if os.fstat(descriptor).st_size > _BEGIN:
                with contextlib.suppress(OSError):  # too many files are open, perhaps
                    return cls(path, descriptor)
            else:
                log.error("the outbox %s has nothing in it", path)
                with contextlib.suppress(OSError):  # it would stand in the way of those after it
                    path.unlink()
        os.close(descriptor)
        return None

    @property
    def waits(self) -> bool:
        """Whether a row of it is not done with."""
        return self.done < self.end

    def has_room(self, more: int) -> bool:
        """Whether so many bytes fit."""
        return self.end + more <= self._room

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a process that lives has it, this one included; False where that cannot be told."""
        if fcntl is None:
            return False
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def append(self, line: bytes, record: DecisionRecord | None = None) -> bool:
        """Keep a line, and in memory the record that has more to say; False if it does not fit."""
        begin = self.end
        end = begin + len(line)
        if end > self._room:
            return False
        self._map[begin:end] = line
        _set_end(self._map, _END_AT, end)
        if record is not None:
            self._remembered.append((begin, record))
        self.end = end  # last of all: what is interrupted before is written over
        return True

    def sync(self) -> None:
        """Wait for the disk."""
        self._map.flush()

    def read(self, count: int | None = None) -> tuple[list[tuple[bytes, DecisionRecord | None]], int]:
        """The next lines, or all, each with the record that is remembered, and where they end."""
        found: list[tuple[bytes, DecisionRecord | None]] = []
        remembered = iter(self._remembered)
        place, record = next(remembered, _NONE)
        mark = self.done
        while mark < self.end and len(found) != count:
            begin, mark = mark, self._map.find(b"\n", mark, self.end) + 1 or self.end
            if begin == place:
                found.append((self._map[begin:mark], record))
                place, record = next(remembered, _NONE)
            else:
                found.append((self._map[begin:mark], None))
        return found, mark

    def forget(self, mark: int) -> None:
        """All up to this mark is done with."""
        self.done, remembered = mark, self._remembered
        while remembered and remembered[0][0] < mark:
            remembered.popleft()
        self._tell()

    def begin_anew(self) -> None:
        """All of it is done with."""
        self._turn += 1
        self.end = self.done = _BEGIN
        self._tell()
        self._remembered.clear()

    def close(self, *, remove: bool) -> None:
        """Let go of it."""
        held = fcntl is not None
        if remove and held:  # as long as nobody else can take it over
            self._unlink()
        self._map.close()
        os.close(self._descriptor)
        if remove and not held:  # on Windows an open file cannot be removed
            self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _tell(self) -> None:
        _HEAD.pack_into(self._map, 0, _MARK, self._turn, self.end, self.done)


def _hold(descriptor: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _make_room(descriptor: int, size: int) -> None:
    """On the disk, not in name only: to write to a map without room on the disk kills the process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        else:
            return
    left = size
    while left > 0:
        left -= os.write(descriptor, bytes(min(left, 1 << 16)))
