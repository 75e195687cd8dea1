"""A Redis and a Valkey for the tests of this directory, started when first needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.servers import BadLine, RedisServer

from llmgate_plugins.state.redis import RedisState

_names = itertools.count()


@pytest.fixture(scope="session", params=["redis", "valkey"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that stays as it is for all tests."""
    server = RedisServer(request.param).start()
    yield server
    server.close()


@pytest.fixture(params=["redis", "valkey"])
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that this test may stop, kill and empty."""
    server = RedisServer(request.param).start()
    yield server
    server.close()


@pytest.fixture
def line(own_server: RedisServer) -> Iterator[BadLine]:
    """A line to the test's own server that can be slow or cut."""
    with BadLine(own_server) as line:
        yield line


@pytest.fixture
def connect() -> Iterator[Callable[..., RedisState]]:
    """Opens states that are closed after the test."""
    states: list[RedisState] = []

    def open_one(url: str, **more: Any) -> RedisState:
        states.append(RedisState(url, **more))
        return states[-1]

    yield open_one
    for state in states:
        state.close()


@pytest.fixture
def opened(server: RedisServer, connect: Callable[..., RedisState]) -> Callable[..., RedisState]:
    """Opens states on the server that stays, each test in a namespace of its own."""
    name = f"test{next(_names)}"

    def open_one(options: str = "", **more: Any) -> RedisState:
        return connect(f"{server.url}?namespace={name}&timeout=2s{options}", **more)

    return open_one
