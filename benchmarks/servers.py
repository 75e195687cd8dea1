"""Real servers to measure against: those that the tests start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["postgresql", "redis"]

sys.path.append(str(Path(__file__).parent.parent / "tests"))


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database."""
    from support.servers import PostgresServer

    server = PostgresServer().start()
    try:
        yield server.database()
    finally:
        server.close()


@contextmanager
def redis() -> Iterator[Any]:
    """A Redis with nothing in it."""
    from support.servers import RedisServer

    server = RedisServer().start()
    try:
        yield server
    finally:
        server.close()
