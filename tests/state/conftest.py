"""A Redis and a Valkey for the tests of this directory, started when first needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from support.servers import RedisServer

from llmgate_plugins.state.redis import RedisState

_names = itertools.count()


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
