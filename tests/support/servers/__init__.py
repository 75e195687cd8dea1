"""Real servers for tests, from wheels or the system: Redis, Valkey, PostgreSQL; and a bad line to them."""

from __future__ import annotations

from support.servers.bad_line import BadLine
from support.servers.postgres_server import PostgresServer
from support.servers.redis_server import RedisServer

__all__ = ["BadLine", "PostgresServer", "RedisServer"]
