"""Values and counters of a shared state. Where the server is down, this process' own memory answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmgate_plugins.errors import StorageError
from llmgate_plugins.state.redis.ask import Ask
from llmgate_plugins.state.redis.scripts import ADD, packed

if TYPE_CHECKING:
    from llmgate_plugins.state.redis.state import RedisState

__all__ = ["Add", "Delete", "Get", "Put"]

T = TypeVar("T")


class _Plain(Ask[T], Generic[T]):
    """A command about one key."""

    __slots__ = ("key", "shared")

    def __init__(self, shared: RedisState, key: str) -> None:
        super().__init__()
        self.shared = shared
        self.key = key


class Get(_Plain[bytes | None]):
    """A value."""

    __slots__ = ()

    def command(self) -> bytes:
        return packed(("GET", self.shared.value_key(self.key)))

    def read(self, reply: Any) -> bytes | None:
        value: bytes | None = reply
        return value

    def lost(self, error: StorageError) -> bytes | None:  # noqa: ARG002 - of a base class
        return self.shared.aside.memory.get(self.key)


class Put(_Plain[None]):
    """Keep a value."""

    __slots__ = ("content", "ttl")

    def __init__(self, shared: RedisState, key: str, content: bytes, ttl: float | None) -> None:
        super().__init__(shared, key)
        self.content = content
        self.ttl = ttl

    def command(self) -> bytes:
        ends = () if self.ttl is None else ("PX", max(1, round(self.ttl * 1000)))
        return packed(("SET", self.shared.value_key(self.key), self.content, *ends))

    def read(self, reply: Any) -> None:  # noqa: ARG002 - of a base class
        return None

    def lost(self, error: StorageError) -> None:  # noqa: ARG002 - of a base class
        self.shared.aside.memory.put(self.key, self.content, ttl=self.ttl)


class Delete(_Plain[bool]):
    """Forget a value."""

    __slots__ = ()

    def command(self) -> bytes:
        return packed(("DEL", self.shared.value_key(self.key)))

    def read(self, reply: Any) -> bool:
        return bool(reply) or self.repeated


class Add(_Plain[int]):
    """Add to a counter."""

    __slots__ = ("amount", "ttl")
    repeats = False

    def __init__(self, shared: RedisState, key: str, amount: int, ttl: float | None) -> None:
        super().__init__(shared, key)
        self.amount = amount
        self.ttl = ttl
        self.script = None if ttl is None else ADD

    def command(self) -> bytes:
        key = self.shared.counter_key(self.key)
        if self.ttl is None:
            return packed(("INCRBY", key, self.amount))
        milliseconds = max(1, round(self.ttl * 1000))
        return packed(
            ("EVALSHA", ADD.sha, 2, self.shared.epoch_key, key, "", "", "", self.amount, milliseconds)
        )

    def read(self, reply: Any) -> int:
        return int(reply)

    def lost(self, error: StorageError) -> int:  # noqa: ARG002 - of a base class
        return self.shared.aside.memory.add(self.key, self.amount, ttl=self.ttl)
