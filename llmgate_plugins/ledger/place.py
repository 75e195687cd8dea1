"""Whether a database file still stands under its name, and how to go on where it does not."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be taken away
    fcntl = None  # type: ignore[assignment]

__all__ = ["Place"]

_BESIDE: Final = ("-wal", "-shm")

_Identity: TypeAlias = tuple[int, int] | None


class Place:
    """The file of an SQLite database, as its connections have it open.

    One that is deleted, renamed or replaced while it is open goes on to be written to, and nobody
    sees what it holds any more. What SQLite keeps beside it has the old name still, and would
    spoil the file that comes next.

    Args:
        path: Where it stands.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: _Identity = None
        self._beside: dict[Path, _Identity] = {}
        self._unfinished = False

    def check(self) -> None:
        """Before a connection is made: never to another file than those that are there have open.

        Raises:
            sqlite3.OperationalError: It would be.
        """
        if self._is_elsewhere():
            error = sqlite3.OperationalError("its file was deleted, renamed or replaced")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error

    def opened(self) -> None:
        """A connection has been made, and has read."""
        self._open = _identity(self._path)
        beside = [self._path.with_name(f"{self._path.name}{one}") for one in _BESIDE]
        self._beside = {path: _identity(path) for path in beside}

    def is_another(self) -> bool:
        """Whether another file stands there than that which connections have open, or none."""
        return self._unfinished or self._is_elsewhere()

    def _is_elsewhere(self) -> bool:
        return self._open is not None and _identity(self._path) != self._open

    @contextmanager
    def begin_anew(self, engine: Engine) -> Iterator[None]:
        """Let go of the old file, whole, and open within what stands there now. One process at a time.

        If that fails, it is to be done again.

        Args:
            engine: Its connections; those that are in use are not waited for.
        """
        self._unfinished = True
        with _alone_in(self._path.parent):
            if engine.pool.checkedin():  # type: ignore[attr-defined]
                _finish(engine)
                for path, identity in self._beside.items():
                    if identity is not None and _identity(path) == identity:
                        path.unlink(missing_ok=True)
            engine.dispose()
            self._open, self._beside = None, {}
            yield
        self._unfinished = False


def _finish(engine: Engine) -> None:
    """Bring what stands beside the old file into it: under its new name it is whole, if it has one."""
    with contextlib.suppress(DBAPIError, sqlite3.Error):
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def _identity(path: Path) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - half as dear, and asked for with every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Alone among those who begin anew there."""
    if fcntl is None:
        yield
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:  # it is gone, and then nobody can begin there
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
