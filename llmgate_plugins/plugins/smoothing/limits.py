"""Which limits a deployment has: as the constructor says, else as its configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from llmgate_plugins.plugins.arguments import whole
from llmgate_plugins.types import Deployment

__all__ = ["LimitKind", "RateLimit", "RateLimitInForce", "configured_limits"]

LimitKind = Literal["requests", "tokens", "input_tokens", "output_tokens", "concurrency"]

_NAMES: Final[Mapping[str, str]] = {
    "requests": "rpm",
    "tokens": "tpm",
    "input_tokens": "input_tpm",
    "output_tokens": "output_tpm",
    "concurrency": "max_parallel_requests",
}
"""Where configuration keeps each, in `deployment.info`; the first, second and last are LiteLLM's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """What one credential may ask of one model; None: not known beforehand, only learned.

    Attributes:
        requests: Requests per minute.
        tokens: Tokens per minute, read and written together.
        input_tokens: Tokens read per minute, without those that the provider's cache served.
        output_tokens: Tokens written per minute, reasoning included.
        concurrency: Requests under way at the same time.
    """

    requests: int | None = None
    tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None:
                whole(field.name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitInForce:
    """One limit as it stands now.

    Attributes:
        deployments: Ids of deployments that share it, eight at the most.
        model: "provider/model".
        credential: The key's short id, safe to show; None for a deployment by itself.
        kind: What is limited; all but "concurrency" are counted per minute.
        configured: As configuration says, or None.
        told: As the provider says in its headers, or None.
        limit: What is kept to now: the lower of the two, or less after refusals. None
            for a concurrency that nothing bounds.
        used: How much of it is used, reserved for calls under way included.
        waiting: How much of it waits for its turn.
        paused: Seconds until the provider wants to be asked again; 0 if it may be now.
    """

    deployments: tuple[str, ...]
    model: str
    credential: str | None
    kind: LimitKind
    configured: int | None
    told: int | None
    limit: int | None
    used: int
    waiting: int
    paused: float


def configured_limits(deployment: Deployment, given: Mapping[str, RateLimit]) -> RateLimit:
    """Its limits: given under its id, else under "provider/model", else as its configuration says."""
    found = given.get(deployment.id) or given.get(f"{deployment.provider}/{deployment.model}")
    values = {}
    for kind, name in _NAMES.items():
        value = getattr(found, kind) if found is not None else None
        values[kind] = _count(deployment.info.get(name)) if value is None else value
    return RateLimit(**values)


def _count(value: Any) -> int | None:
    """Configuration may leave numbers as text; 0 is how LiteLLM's files say that there is no limit."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
