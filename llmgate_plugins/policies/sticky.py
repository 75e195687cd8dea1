"""Whether calls of one session, or of one prompt's beginning, are kept where a provider's cache is warm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Sticky", "Together"]

Together = Literal["session", "prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sticky:
    """Calls are kept at the deployment that served before, where what its cache saves outweighs the rest.

    Attributes:
        by: What belongs together: calls of one "session", or calls whose system prompt and tools
            are the same ("prefix").
        idle: Seconds after the last success until the cache counts as cold; None for what the
            provider says of its own.
        second: US dollars that one second is worth, for preferences that count seconds.

    Raises:
        ValueError: A number is out of its range.
    """

    by: Together = "session"
    idle: float | None = None
    second: float = 0.001

    def __post_init__(self) -> None:
        if self.by not in get_args(Together):
            raise ValueError(f"sticky by {' or '.join(get_args(Together))}, not by {self.by!r}")
        if self.idle is not None and not 0 < self.idle < math.inf:
            raise ValueError(f"idle must be above 0 seconds, not {self.idle!r}")
        if not 0 < self.second < math.inf:
            raise ValueError(f"second must be above 0 dollars, not {self.second!r}")
