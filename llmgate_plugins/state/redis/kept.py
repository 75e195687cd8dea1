"""The one connection that a line keeps: made when it is needed, and looked at when it has rested."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, cast

from redis.exceptions import RedisError

from llmgate_plugins.state.redis.dialing import Connection, Dialer

__all__ = ["Kept"]

RESTED: Final = 1.0
"""Seconds without use after which a connection is looked at first: the other end may have closed it."""


class Kept:
    """Not thread-safe: whoever has the line's turn uses it.

    Args:
        dialer: Makes connections.
        greet: Given a connection, learns and tells what each connection must.
    """

    __slots__ = ("_connection", "_dialer", "_greet", "_used")

    def __init__(self, dialer: Dialer, greet: Callable[[Kept], None]) -> None:
        self._dialer = dialer
        self._greet = greet
        self._connection: Connection | None = None
        self._used = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is one, by the last that was heard of it."""
        return self._connection is not None

    def connected(self) -> Connection:
        """It, made anew if it must be.

        Raises:
            RedisError, OSError, StorageError: There is none to be had.
        """
        now = time.monotonic()
        if self._connection is not None and now >= self._used + RESTED:
            self._look_at(self._connection)
        self._used = now
        if self._connection is None:
            self._connection = self._dialer.dial()
            try:
                self._connection.connect()
                self._greet(self)
            except BaseException:
                self.hang_up()
                raise
        return self._connection

    def _look_at(self, connection: Connection) -> None:
        """Hang up if there is something to read, which can only be the end."""
        try:
            ended = connection.can_read(0)
        except (RedisError, OSError):
            ended = True
        if ended:
            self.hang_up()

    def hang_up(self) -> None:
        """Let go of it. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def call(self, *commands: bytes) -> list[Any]:
        """Ask these at once, for whoever greets; an error of any is raised."""
        connection = cast("Connection", self._connection)
        connection.send_packed_command([b"".join(commands)], check_health=False)
        return [connection.read_response() for _ in commands]
