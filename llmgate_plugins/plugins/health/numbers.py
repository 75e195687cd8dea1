"""The numbers by which health is judged."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmgate_plugins.plugins.arguments import non_negative, positive, whole

__all__ = ["Numbers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All numbers of `Health`, which says what each means; times are seconds."""

    consecutive: int = 5
    share: float = 0.5
    samples: int = 10
    window: float = 30.0
    fair_time: float = 30.0
    ejection: float = 15.0
    most_ejection: float = 300.0
    most_quick: float = 8.0
    hard_ejection: float = 60.0
    gone_ejection: float = 3600.0
    most_retry_after: float = 3600.0
    throttle_pause: float = 1.0
    jitter: float = 0.2
    calm: float = 60.0
    successes: int = 3
    probe_timeout: float = 60.0
    slow_start: float = 30.0
    least_share: float = 0.1
    least_left: float = 0.5
    forget: float = 300.0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _WHOLE:
                whole(name, value)
            elif name in _MAY_BE_ZERO:
                non_negative(name, value)
            else:
                positive(name, value)
            if name in _PARTS and value > 1:
                raise ValueError(f"{name} is a part of the whole, 0 to 1, not {value!r}")
        if self.most_ejection < self.ejection:
            raise ValueError(
                f"most_ejection ({self.most_ejection}) must not be below ejection ({self.ejection})"
            )


_WHOLE = frozenset({"consecutive", "samples", "successes"})
_MAY_BE_ZERO = frozenset({"fair_time", "throttle_pause", "jitter", "slow_start", "least_share", "least_left"})
_PARTS = frozenset({"share", "jitter", "least_share", "least_left"})
