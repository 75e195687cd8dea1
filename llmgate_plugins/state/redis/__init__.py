"""State in Redis or Valkey, shared by processes."""

from __future__ import annotations

from llmgate_plugins.state.redis.state import RedisState

__all__ = ["RedisState"]
