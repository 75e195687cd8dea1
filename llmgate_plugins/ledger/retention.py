"""How long rows are kept, by tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmgate_plugins.types import EMPTY

__all__ = ["Retention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows are kept.

    Attributes:
        default: Seconds, for every tenant that is not named; None for ever.
        tenants: Tenant -> seconds.

    Raises:
        ValueError: A time is not above 0.
    """

    default: float | None = None
    tenants: Mapping[str, float] = EMPTY

    def __post_init__(self) -> None:
        for seconds in (self.default, *self.tenants.values()):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"rows can be kept for more than 0 seconds, not for {seconds!r}")
