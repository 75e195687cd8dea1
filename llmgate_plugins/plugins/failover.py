"""What to do about a failed attempt: siblings at once, then a bounded retry, then fallbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from llmgate_plugins.classification.reactions import Reaction, reaction_to
from llmgate_plugins.context import Call, StashKey
from llmgate_plugins.decisions import GiveUp, NextAlias, NextDeployment, Recovery, Retry, Skip
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import non_negative, whole
from llmgate_plugins.plugins.context_fit import fitting, overflow_floor
from llmgate_plugins.plugins.retry_budget import RetryBudget
from llmgate_plugins.plugins.tried import asks_to_be_retried, latest, most_promising
from llmgate_plugins.services import Services
from llmgate_plugins.types import EMPTY, Attempt, Deployment, ErrorClass, Failure, Outcome, Request, Scope

__all__ = ["MOST_ATTEMPTS", "Failover"]

MOST_ATTEMPTS: Final[StashKey[int]] = StashKey("llmgate.most_attempts")
"""Put a number here to bound the attempts of one call, siblings and fallbacks included."""

THROTTLED: Final = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.OVERLOADED})
MOST_LATER: Final = 0.1
"""Part by which a wait that a provider asked for is made longer, so that not all come back at once."""
MOST_PROVIDERS: Final = 10_000


class Failover:
    """Keeps a call alive while there is a sensible place to send it.

    What follows from a failure stands in `classification.reactions`:

    - What is the caller's own fault goes back to the caller at once.
    - An untried deployment of the same alias is tried at once, without sleeping: after a
      fault of a key or an account one with another key; after an overload of a whole
      provider one of another; after a context overflow one with room for the request.
    - Then the most promising one is tried again, after full jitter and never before the
      provider's Retry-After, if that fits the call's deadline. While fallback aliases are
      left this happens once, and only for a wait of at most `patience`.
    - Money, keys, permissions and missing models are never retried.
    - A refusal of the content is given to another model only where `content_policy` says so.

    A further attempt at a provider that this call has tried before needs a token of that
    provider's retry budget, which is lost if the attempt fails; without one it is skipped
    ("retry_budget"). So a provider in trouble gets about `retry_share` more attempts than
    there are calls. The first attempt at another provider is free.

    Args:
        max_attempts: Most attempts under one alias, except that each sibling may always
            be tried once.
        max_deployments: Most siblings that one call tries, however many there are.
        base, cap: Seconds; the n-th retry waits between 0 and `min(cap, base * 2**n)`.
        throttle_base, throttle_cap: The same after a rate limit or an overload.
        patience: Longest Retry-After, in seconds, worth waiting for before a fallback.
        retry_share, retry_floor, retry_window: As of `RetryBudget`: further attempts per
            call, and per second at least; seconds for which a call counts.
        context_window: Alias -> aliases for requests that are too long for it, in place of
            the configured fallbacks.
        content_policy: Alias -> aliases that may answer what its provider refused to.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        base: float = 0.5,
        cap: float = 8.0,
        throttle_base: float = 1.0,
        throttle_cap: float = 20.0,
        patience: float = 5.0,
        *,
        max_deployments: int = 10,
        retry_share: float = 0.2,
        retry_floor: float = 0.5,
        retry_window: float = 60.0,
        context_window: Mapping[str, Sequence[str]] = EMPTY,
        content_policy: Mapping[str, Sequence[str]] = EMPTY,
    ) -> None:
        self.max_attempts = whole("max_attempts", max_attempts)
        self.base, self.cap = _delays("base", base, "cap", cap)
        self.throttle_base, self.throttle_cap = _delays(
            "throttle_base", throttle_base, "throttle_cap", throttle_cap
        )
        self.patience = non_negative("patience", patience)
        self.max_deployments = whole("max_deployments", max_deployments)
        self._budget = (retry_share, retry_floor, retry_window)
        RetryBudget(*self._budget)  # refuses what it cannot be made with now, not at the first call
        self._budgets: dict[str, RetryBudget] = {}
        self._context_window = {alias: tuple(to) for alias, to in context_window.items()}
        self._content_policy = {alias: tuple(to) for alias, to in content_policy.items()}

    def retry_budget(self, provider: str) -> RetryBudget:
        """The budget of one provider, in this process."""
        budget = self._budgets.get(provider)
        if budget is None:
            if len(self._budgets) >= MOST_PROVIDERS:
                self._budgets.clear()
            budget = self._budgets.setdefault(provider, RetryBudget(*self._budget))
        return budget

    @hookimpl
    def begin_attempt(self, attempt: Attempt, call: Call, services: Services) -> Skip | None:
        """Pay into the provider's retry budget, or see whether it has room for a further attempt."""
        budget, now = self.retry_budget(attempt.deployment.provider), services.clock.monotonic()
        cost = _cost(attempt, call)
        if cost is None:
            budget.deposit(now)
        elif not budget.allows(cost, now):
            return Skip("retry_budget")
        return None

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, call: Call, services: Services) -> None:
        """A further attempt that failed is taken out of its provider's retry budget."""
        if outcome.status == "error" and (cost := _cost(attempt, call)):
            self.retry_budget(attempt.deployment.provider).take(cost, services.clock.monotonic())

    @hookimpl
    def recover_attempt(
        self,
        attempt: Attempt,
        outcome: Outcome,
        untried: Sequence[Deployment],
        fallbacks: Sequence[str],
        request: Request,
        call: Call,
        services: Services,
    ) -> Recovery | None:
        """Retry, next deployment, next alias, or give up."""
        failure = outcome.failure
        if failure is None:
            return None
        reaction = reaction_to(failure)
        if reaction.elsewhere == "never" and not reaction.again and not asks_to_be_retried(outcome.error):
            return GiveUp()
        sent = [one for one in call.record.attempts if one[1].status != "skipped"]
        most = call.stash.get(MOST_ATTEMPTS)
        if most is not None and len(sent) >= most:
            return GiveUp()
        if reaction.elsewhere == "allowed_only":
            to = self._content_policy.get(attempt.alias)
            return NextAlias(to) if to else GiveUp()
        if failure.error_class is ErrorClass.EMPTY_RESPONSE and _emptied_before(sent):
            return GiveUp()
        here = [one for one in sent if one[0].alias == attempt.alias]
        if reaction.at_once and _times(here, attempt.deployment.id) == 1:
            return Retry(on=attempt.deployment.id)
        if untried and reaction.elsewhere != "never" and _deployments(here) < self.max_deployments:
            onward = _siblings(reaction, attempt, failure, untried, request, call)
            if onward is not None:
                return onward
        onward_alias = self._onward(attempt.alias, failure, fallbacks)
        if len(here) >= (self.max_attempts if most is None else most):
            return onward_alias
        return self._retry(here, bool(fallbacks), call, services) or onward_alias

    def _onward(self, alias: str, failure: Failure, fallbacks: Sequence[str]) -> Recovery:
        """To another alias, or back to the caller."""
        if reaction_to(failure).elsewhere == "larger_window":
            to = self._context_window.get(alias)
            if to:
                return NextAlias(to)
            if failure.error_class is not ErrorClass.CONTEXT_LENGTH:
                return GiveUp()  # of a request's size in bytes nobody knows who takes more
        return NextAlias() if fallbacks else GiveUp()

    def _retry(
        self, here: list[tuple[Attempt, Outcome]], has_fallback: bool, call: Call, services: Services
    ) -> Retry | None:
        tried = latest(here)
        retries = len(here) - len(tried)
        if has_fallback and retries:
            return None
        now = services.clock.monotonic()
        best = most_promising(tried, has_fallback, now)
        if best is None:
            return None
        floor = best.wait(now)
        if has_fallback and floor > self.patience:
            return None
        delay = self._delay(best.failure.error_class, retries, floor, call)
        return Retry(delay, on=best.id) if delay < call.remaining(now) else None

    def _delay(self, error_class: ErrorClass, retries: int, floor: float, call: Call) -> float:
        throttled = error_class in THROTTLED
        base = self.throttle_base if throttled else self.base
        cap = self.throttle_cap if throttled else self.cap
        chance = call.draw(f"failover: delay after attempt {len(call.record.attempts)}")
        jitter = chance * min(cap, base * 2.0 ** min(retries, 64))
        if floor <= 0:
            return jitter
        return max(jitter, floor * (1 + MOST_LATER * chance))


def _siblings(
    reaction: Reaction,
    attempt: Attempt,
    failure: Failure,
    untried: Sequence[Deployment],
    request: Request,
    call: Call,
) -> NextDeployment | None:
    """To those of the same alias that would not fail for the same reason; None if there is none."""
    failed = attempt.deployment
    if failure.error_class is ErrorClass.CONTEXT_LENGTH:
        able = fitting(untried, request, overflow_floor(call))
    elif reaction.elsewhere == "larger_window":
        return None
    elif failure.scope is Scope.CREDENTIAL and failed.credential is not None:
        able = frozenset(one.id for one in untried if one.credential != failed.credential)
    elif failure.scope is Scope.PROVIDER:
        others = frozenset(one.id for one in untried if one.provider != failed.provider)
        able = others or frozenset(one.id for one in untried)
    else:
        return NextDeployment()
    if len(able) == len(untried):
        return NextDeployment()
    return NextDeployment(among=able) if able else None


def _cost(attempt: Attempt, call: Call) -> float | None:
    """What it costs that this is not the call's first attempt at this provider; None if it is."""
    if attempt.number == 1:
        return None
    provider = attempt.deployment.provider
    for earlier, outcome in reversed(call.record.attempts):
        if (
            earlier.deployment.provider == provider
            and earlier.number < attempt.number
            and outcome.status != "skipped"
        ):
            return reaction_to(outcome.failure).retry_cost if outcome.failure is not None else 1.0
    # What is hedged is still under way, and so not on record.
    return 1.0 if attempt.reason == "hedge" else None


def _emptied_before(sent: Sequence[tuple[Attempt, Outcome]]) -> bool:
    """Whether an earlier attempt, too, came back with nothing in it: then there is nothing to say."""
    empty = [
        outcome
        for _, outcome in sent
        if outcome.failure is not None and outcome.failure.error_class is ErrorClass.EMPTY_RESPONSE
    ]
    return len(empty) > 1


def _deployments(here: Sequence[tuple[Attempt, Outcome]]) -> int:
    return len({attempt.deployment.id for attempt, _ in here})


def _times(here: Sequence[tuple[Attempt, Outcome]], id: str) -> int:
    return sum(attempt.deployment.id == id for attempt, _ in here)


def _delays(base_name: str, base: float, cap_name: str, cap: float) -> tuple[float, float]:
    base, cap = non_negative(base_name, base), non_negative(cap_name, cap)
    if cap < base:
        raise ValueError(f"{cap_name} ({cap}) must not be below {base_name} ({base})")
    return base, cap
