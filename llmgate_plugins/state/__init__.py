"""What calls need to know of each other: limits, leases, values and counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.services import Clock, Random, State
from llmgate_plugins.state.address import parse_address
from llmgate_plugins.state.memory import MemoryState

if TYPE_CHECKING:
    from llmgate_plugins.state.redis import RedisState

__all__ = ["MemoryState", "RedisState", "check_state", "open_state"]


def open_state(url: str = "memory", *, clock: Clock | None = None, random: Random | None = None) -> State:
    """The state that a configuration names.

    Args:
        url: "memory" (this gateway alone), or where a Redis or Valkey is, shared by all
            processes that name it: "redis://HOST:6379/0", "rediss://" (TLS), "unix://PATH",
            "redis+sentinel://HOST:26379,HOST2:26379/MASTER/0", "redis+cluster://HOST:6379".
            Options: "?namespace=prod" begins every key; "timeout=50ms" is for a connection
            and for an answer; "workers=4", among how many processes limits that need not
            hold at any price are shared out while it is down; "ssl_..." as redis-py has them.
        clock: Where time comes from; the machine's by default. Limits in a server go by the
            server's clock.
        random: Makes lease ids unique among processes.

    Raises:
        ConfigurationError: No such kind of state, an option that is none, or a package that
            is not installed.
    """
    if _is_memory(url):
        return MemoryState(clock, random)
    parse_address(url)  # whoever misspells it need not install anything first
    return _redis_state()(url, clock=clock, random=random)


def check_state(url: str) -> None:
    """Whether `open_state` would take this; opens nothing.

    Raises:
        ConfigurationError: What is wrong, and what to write instead. No password is shown.
    """
    if not _is_memory(url):
        parse_address(url)


def _is_memory(url: str) -> bool:
    return url.strip().lower() in ("memory", "memory:", "memory://")


def _redis_state() -> type[RedisState]:
    try:
        from llmgate_plugins.state.redis import RedisState
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigurationError(
            "a shared state needs the package redis: pip install 'llmgate-plugins[redis]'"
        ) from missing
    return RedisState


def __getattr__(name: str) -> Any:
    # RedisState brings redis-py along, so it is imported when it is asked for.
    if name == "RedisState":
        return _redis_state()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
