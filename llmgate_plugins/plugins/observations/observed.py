"""What is known of one deployment at one moment, as plain values for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Observed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What has been seen of one deployment, the old faded. All is of this process.

    Attributes:
        samples: Answers behind the durations, those that have faded as parts of one.
        latency: Seconds to a whole answer, mean; None where none was seen.
        first_token: Seconds to the first token of a stream, mean; None where none was seen.
        per_token: Seconds that one more output token takes; 0 where lengths have hardly differed.
        p50, p95, p99: Seconds within which that share of the last 128 answers was whole.
        successes, failures: As `samples`. Only what the deployment or its provider is to blame for
            is a failure.
        success: The share that succeeds, between `success_low` and `success_high` with 95 %
            confidence (Wilson); None where nothing was seen.
        throttles: Refusals for a rate limit since the process began.
        in_flight: Attempts under way.
        output: Output tokens per answer of its model, mean; None where none was seen.
        cached: Share of its model's input that the provider's prompt cache served; None as above.
        age: Seconds since the last answer; None without any.
    """

    samples: float = 0.0
    latency: float | None = None
    first_token: float | None = None
    per_token: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    successes: float = 0.0
    failures: float = 0.0
    success: float | None = None
    success_low: float = 0.0
    success_high: float = 1.0
    throttles: int = 0
    in_flight: int = 0
    output: float | None = None
    cached: float | None = None
    age: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
