"""A clock for a state in a server."""

from __future__ import annotations

from support.servers import RedisServer
from support.state_conformance import ManualClock

__all__ = ["ServerClock"]


class ServerClock(ManualClock):
    """A clock that goes only when it is told to, and takes the time that keys have left along."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        client = self._server.client
        for key in client.scan_iter(count=1000):
            left: int = client.pttl(key)  # type: ignore[assignment]  # of a sync client
            left -= round(seconds * 1000)
            if left > 0:
                client.pexpire(key, left)
            elif left > -round(seconds * 1000):  # it has an end
                client.delete(key)
