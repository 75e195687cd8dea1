"""What to do about a failed attempt: siblings at once, then a bounded retry, then fallbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llmgate_plugins.classification import should_retry
from llmgate_plugins.context import Call, StashKey
from llmgate_plugins.decisions import GiveUp, NextAlias, NextDeployment, Recovery, Retry
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import non_negative, whole
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Deployment, ErrorClass, Failure, Outcome, Scope

__all__ = ["MOST_ATTEMPTS", "Failover"]

MOST_ATTEMPTS: Final[StashKey[int]] = StashKey("llmgate.most_attempts")
"""Put a number here to bound the attempts of one call, siblings and fallbacks included."""

TRANSIENT: Final = frozenset(
    {
        ErrorClass.RATE_LIMIT,
        ErrorClass.CONFLICT,
        ErrorClass.TIMEOUT,
        ErrorClass.CONNECTION,
        ErrorClass.OVERLOADED,
        ErrorClass.SERVER,
        ErrorClass.BAD_RESPONSE,
        ErrorClass.EMPTY_RESPONSE,
        ErrorClass.TRUNCATED,
    }
)
"""What may be gone when the same deployment is asked again."""

THROTTLED: Final = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.OVERLOADED})
CALLERS_FAULT: Final = frozenset({ErrorClass.INVALID_REQUEST, ErrorClass.CONTENT_POLICY})


@dataclass(slots=True)
class _Tried:
    """One deployment that this call has tried under the alias at hand, and how it went last."""

    id: str
    failure: Failure
    error: BaseException | None
    ended: float
    times: int

    def wait(self, now: float) -> float:
        """Seconds until the provider wants to be asked again; 0 if it named no time."""
        asked = self.failure.retry_after
        return max(0.0, self.ended + asked - now) if asked is not None else 0.0


class Failover:
    """Keeps a call alive while there is a sensible place to send it.

    - What is the caller's own fault goes back to the caller at once.
    - An untried deployment of the same alias is tried at once, without sleeping.
    - Then the most promising one is tried again, after full jitter and never before the
      provider's Retry-After, if that fits the call's deadline. While fallback aliases are
      left this happens once, and only for a wait of at most `patience`.
    - Money, keys, permissions and missing models are never retried.

    Args:
        max_attempts: Most attempts under one alias, except that each sibling may always
            be tried once.
        base, cap: Seconds; the n-th retry waits between 0 and `min(cap, base * 2**n)`.
        throttle_base, throttle_cap: The same after a rate limit or an overload.
        patience: Longest Retry-After, in seconds, worth waiting for before a fallback.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        base: float = 0.5,
        cap: float = 8.0,
        throttle_base: float = 1.0,
        throttle_cap: float = 20.0,
        patience: float = 5.0,
    ) -> None:
        self.max_attempts = whole("max_attempts", max_attempts)
        self.base, self.cap = _delays("base", base, "cap", cap)
        self.throttle_base, self.throttle_cap = _delays(
            "throttle_base", throttle_base, "throttle_cap", throttle_cap
        )
        self.patience = non_negative("patience", patience)

    @hookimpl
    def recover_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        untried: Sequence[Deployment],
        fallbacks: Sequence[str],
        call: Call,
        services: Services,
    ) -> Recovery | None:
        """Retry, next deployment, next alias, or give up."""
        failure = outcome.failure
        if failure is None:
            return None
        if _is_hopeless(failure):
            return GiveUp()
        sent = [one for one in call.record.attempts if one[1].status != "skipped"]
        most = call.stash.get(MOST_ATTEMPTS)
        if most is not None and len(sent) >= most:
            return GiveUp()
        onward: Recovery = NextAlias() if fallbacks else GiveUp()
        if failure.error_class is ErrorClass.CONTEXT_LENGTH:
            return onward
        if untried:
            return NextDeployment()
        here = [one for one in sent if one[0].alias == attempt.alias]
        if len(here) >= (self.max_attempts if most is None else most):
            return onward
        return self._retry(here, bool(fallbacks), call, services) or onward

    def _retry(
        self, here: list[tuple[Attempt, Outcome]], has_fallback: bool, call: Call, services: Services
    ) -> Retry | None:
        tried = _latest(here)
        retries = len(here) - len(tried)
        if has_fallback and retries:
            return None
        now = services.clock.monotonic()
        best = _most_promising(tried, has_fallback, now)
        if best is None:
            return None
        floor = best.wait(now)
        if has_fallback and floor > self.patience:
            return None
        delay = self._delay(best.failure.error_class, retries, floor, services)
        return Retry(delay, on=best.id) if delay < call.remaining(now) else None

    def _delay(self, error_class: ErrorClass, retries: int, floor: float, services: Services) -> float:
        throttled = error_class in THROTTLED
        base = self.throttle_base if throttled else self.base
        cap = self.throttle_cap if throttled else self.cap
        jitter = services.random.random() * min(cap, base * 2.0 ** min(retries, 64))
        if floor <= 0:
            return jitter
        return max(jitter, floor * (1 + services.random.uniform(0.0, 0.1)))


def _is_hopeless(failure: Failure) -> bool:
    """Whether it would fail the same way wherever it were sent."""
    if failure.error_class in CALLERS_FAULT or failure.scope in (Scope.CALLER, Scope.LOCAL):
        return True
    return failure.scope is Scope.REQUEST and failure.error_class not in (
        ErrorClass.CONTEXT_LENGTH,  # another model may have a larger window
        ErrorClass.LOCAL,  # refused by one client before it was sent
    )


def _latest(here: list[tuple[Attempt, Outcome]]) -> list[_Tried]:
    """Each deployment with its last failure, the one that failed longest ago first."""
    found: dict[str, _Tried] = {}
    for attempt, outcome in here:
        if outcome.failure is not None:
            before = found.pop(attempt.deployment.id, None)
            found[attempt.deployment.id] = _Tried(
                id=attempt.deployment.id,
                failure=outcome.failure,
                error=outcome.error,
                ended=attempt.started + outcome.latency,
                times=before.times + 1 if before else 1,
            )
    return list(found.values())


def _most_promising(tried: list[_Tried], has_fallback: bool, now: float) -> _Tried | None:
    """The one to ask again: soonest free, least often tried, longest ago.

    One that kept silent is asked again only if there is nothing else."""
    able = [one for one in tried if one.failure.error_class in TRANSIENT and _may_retry(one)]
    talking = [one for one in able if one.failure.error_class is not ErrorClass.TIMEOUT]
    if not talking and has_fallback:
        return None
    return min(talking or able, key=lambda one: (one.wait(now), one.times), default=None)


def _may_retry(one: _Tried) -> bool:
    return one.error is None or should_retry(one.error) is not False


def _delays(base_name: str, base: float, cap_name: str, cap: float) -> tuple[float, float]:
    base, cap = non_negative(base_name, base), non_negative(cap_name, cap)
    if cap < base:
        raise ValueError(f"{cap_name} ({cap}) must not be below {base_name} ({base})")
    return base, cap
