"""Real servers for every suite: started by the first test that asks, stopped when all have run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.servers import PostgresServer, RedisServer


@pytest.fixture(scope="session")
def _redis_for_all() -> Iterator[RedisServer]:
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
def redis_server(_redis_for_all: RedisServer) -> RedisServer:
    """A Redis without any key. Many tests share it: leave it running; see `fresh_redis`."""
    _redis_for_all.flush()
    return _redis_for_all


@pytest.fixture
def fresh_redis() -> Iterator[RedisServer]:
    """A Redis for this test alone: to be stopped, killed, paused, replicated."""
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _valkey_for_all() -> Iterator[RedisServer]:
    from support.servers import RedisServer  # its clients are not there in every environment

    server = RedisServer("valkey").start()
    yield server
    server.close()


@pytest.fixture
def valkey_server(_valkey_for_all: RedisServer) -> RedisServer:
    """A Valkey without any key, which many tests share."""
    _valkey_for_all.flush()
    return _valkey_for_all


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that many tests share: leave it running; see `fresh_postgres`."""
    from support.servers import PostgresServer  # its clients are not there in every environment

    server = PostgresServer().start()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database for this test alone."""
    url = postgres_server.database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def fresh_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for this test alone: to be stopped, killed, paused."""
    from support.servers import PostgresServer  # its clients are not there in every environment

    server = PostgresServer().start()
    yield server
    server.close()
