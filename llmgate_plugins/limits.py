"""How long the phases of an attempt may take, and what a provider says is left of its rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["UNLIMITED", "Limits", "Quota"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the phases of one attempt may take, in seconds; None: only the call's deadline counts.

    Attributes:
        connect: Until there is a connection.
        first_token: Until a stream's first piece of content, or until a whole answer is
            there. What takes longer is a `TimeoutError` of that deployment.
        gap: Between two chunks of a stream.
        hedge_after: After how long without a first token (a whole answer) the same request
            is also sent to the next untried deployment, once; the slower one is cancelled.
            None: never.
    """

    connect: float | None = 5.0
    first_token: float | None = None
    gap: float | None = None
    hedge_after: float | None = None


UNLIMITED: Final = Limits()
"""Where nobody has an opinion: 5 s to connect, else the call's deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a provider says of its rate limits, in the headers of an answer or of an error.

    The keys are "requests", "tokens", "input_tokens" and "output_tokens", as far as told.

    Attributes:
        limits: How many each window allows.
        remaining: How many are left of the window of now.
        resets: Seconds, from the answer on, until all of it is there again.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    remaining: Mapping[str, int] = field(default_factory=dict)
    resets: Mapping[str, float] = field(default_factory=dict)
