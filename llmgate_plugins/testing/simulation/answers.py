"""What a simulated provider means to say, and how many requests it takes in a minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins.limits import Quota
from llmgate_plugins.meters import ChunkMeter
from llmgate_plugins.types import Attempt, Chunk, Usage

__all__ = ["Account", "Answer", "AnswerMeter", "going_on"]

MINUTE: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a provider means to say to one attempt.

    Attributes:
        given: What the attempt brought as the beginning of the answer (`Attempt.prefill`).
        pieces: What follows it, piece by piece.
        tool: Id of a tool call at its end, if the request has tools.
        sent: When the request came in, monotonic seconds.
    """

    attempt: Attempt
    given: str
    pieces: tuple[str, ...]
    tool: str | None
    sent: float
    error: BaseException | None = None
    usage: Usage | None = None
    quota: Quota | None = None

    @property
    def text(self) -> str:
        """The whole answer, as the caller should get it."""
        return self.given + "".join(self.pieces)


class AnswerMeter(ChunkMeter):
    """Reads chunks, and knows what the headers said."""

    __slots__ = ("_answers", "_key")

    def __init__(self, answers: Mapping[tuple[str, int], Answer], attempt: Attempt) -> None:
        super().__init__()
        self._answers = answers
        self._key = (attempt.call_id, attempt.number)

    def feed(self, chunk: Chunk) -> bool:
        """Take note of a chunk."""
        if self.quota is None:
            self.quota = self._answers[self._key].quota
        return super().feed(chunk)


@dataclass(slots=True)
class Account:
    """Requests of the last minute under one key."""

    limit: int
    moments: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """Count a request, if there is room for it."""
        moments = self.moments
        while moments and moments[0] <= now - MINUTE:
            moments.popleft()
        if len(moments) >= self.limit:
            return False
        moments.append(now)
        return True

    def free_in(self, now: float) -> float:
        """Seconds until there is room for another."""
        return max(self.moments[0] + MINUTE - now, 0.001)

    def quota(self, now: float) -> Quota:
        """What the headers say."""
        reset = self.moments[0] + MINUTE - now if self.moments else 0.0
        left = self.limit - len(self.moments)
        return Quota(
            limits={"requests": self.limit}, remaining={"requests": left}, resets={"requests": reset}
        )


def going_on(given: str, pieces: tuple[str, ...]) -> tuple[str, ...]:
    """What a model says after a given beginning: the rest of its own answer, or other words."""
    whole = "".join(pieces)
    if whole.startswith(given):
        return (whole[len(given) :],)
    return (f" {pieces[0]}", *pieces[1:])
