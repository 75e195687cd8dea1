"""Real servers for tests, from wheels or the system: Redis, Valkey, PostgreSQL."""

from __future__ import annotations

from support.servers.postgres_server import PostgresServer
from support.servers.redis_server import RedisServer

__all__ = ["PostgresServer", "RedisServer"]
