"""What calls need to know of each other: limits, leases, values and counters."""

from __future__ import annotations

from llmgate_plugins.errors import ConfigurationError
from llmgate_plugins.services import Clock, Random, State
from llmgate_plugins.state.memory import MemoryState

__all__ = ["MemoryState", "open_state"]


def open_state(url: str = "memory", *, clock: Clock | None = None, random: Random | None = None) -> State:
    """The state that a configuration names.

    Args:
        url: "memory" (or "memory://"): this process alone.
        clock: Where time comes from; the machine's by default.
        random: Makes lease ids unique among processes.

    Raises:
        ConfigurationError: No such kind of state.
    """
    scheme = url.partition(":")[0].strip().lower()
    if scheme == "memory" and url.strip().lower() in ("memory", "memory:", "memory://"):
        return MemoryState(clock, random)
    # Only the scheme is shown: what follows it may hold a password.
    raise ConfigurationError(f"state {scheme!r} is not known; there is: memory (this process alone)")
