"""Which of the deployments that a call has tried is worth asking again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmgate_plugins.classification import should_retry
from llmgate_plugins.classification.reactions import Reaction, reaction_to
from llmgate_plugins.types import Attempt, ErrorClass, Failure, Outcome

__all__ = ["Tried", "asks_to_be_retried", "latest", "most_promising"]


@dataclass(slots=True)
class Tried:
    """One deployment that this call has tried under the alias at hand, and how it went last."""

    id: str
    failure: Failure
    reaction: Reaction
    error: BaseException | None
    ended: float
    times: int

    def wait(self, now: float) -> float:
        """Seconds until the provider wants to be asked again; 0 if it named no time."""
        asked = self.failure.retry_after
        return max(0.0, self.ended + asked - now) if asked is not None else 0.0


def latest(here: Sequence[tuple[Attempt, Outcome]]) -> list[Tried]:
    """Each deployment with its last failure, the one that failed longest ago first."""
    found: dict[str, Tried] = {}
    for attempt, outcome in here:
        if outcome.failure is not None:
            before = found.pop(attempt.deployment.id, None)
            found[attempt.deployment.id] = Tried(
                id=attempt.deployment.id,
                failure=outcome.failure,
                reaction=reaction_to(outcome.failure),
                error=outcome.error,
                ended=attempt.started + outcome.latency,
                times=before.times + 1 if before else 1,
            )
    return list(found.values())


def most_promising(tried: list[Tried], has_fallback: bool, now: float) -> Tried | None:
    """The one to ask again: soonest free, least often tried, longest ago.

    One that kept silent is asked again only if there is nothing else."""
    able = [one for one in tried if _may_retry(one)]
    talking = [one for one in able if one.failure.error_class is not ErrorClass.TIMEOUT]
    if not talking and has_fallback:
        return None
    return min(talking or able, key=lambda one: (one.wait(now), one.times), default=None)


def _may_retry(one: Tried) -> bool:
    if one.failure.error_class is ErrorClass.EMPTY_RESPONSE:
        return False  # there may be nothing to say: somebody else is asked, but nobody twice
    said = should_retry(one.error) if one.error is not None else None
    return one.reaction.again if said is None else said


def asks_to_be_retried(error: BaseException | None) -> bool:
    """Whether the provider says `x-should-retry: true`."""
    return error is not None and should_retry(error) is True
