"""Servers of the tests of this directory, started when first needed; a clock that ages their keys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from support.servers import RedisServer
from support.state_conformance import ManualClock

from llmgate_plugins.state.redis import RedisState

_names = itertools.count()


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


@pytest.fixture(scope="session", params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    server = RedisServer(request.param).start()
    yield server
    server.close()


@pytest.fixture
def opened(server: RedisServer) -> Iterator[Callable[..., RedisState]]:
    """Opens states on the server, each test in a namespace of its own."""
    name = f"test{next(_names)}"
    states: list[RedisState] = []

    def open_one(options: str = "", **more: object) -> RedisState:
        url = f"{server.url}?namespace={name}&timeout=2s{options}"
        states.append(RedisState(url, **more))  # type: ignore[arg-type]
        return states[-1]

    yield open_one
    for state in states:
        state.close()
