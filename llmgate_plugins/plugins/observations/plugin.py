"""Watches every attempt and remembers of each deployment what a choice may depend on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Final, Protocol, TypeVar

from llmgate_plugins.context import Call, Context, StashKey
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.intervals import Z, wilson
from llmgate_plugins.plugins.observations.experience import Experience
from llmgate_plugins.plugins.observations.lengths import Lengths
from llmgate_plugins.plugins.observations.observed import Observed
from llmgate_plugins.records import DecisionRecord
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Deployment, ErrorClass, Outcome, Request, Scope
from llmgate_plugins.usage import answers_of, sent_params

__all__ = ["BUDGET", "Observations", "Watching", "observations_of"]

MOST_NEWS: Final = 2_048
"""Answers that are kept as they came until somebody wants to know what they teach."""
MOST_DEPLOYMENTS: Final = 16_384
MOST_MODELS: Final = 4_096
_SEVERAL: Final = frozenset({"n", "best_of", "extra_body"})
"""Parameters that may ask for more than one answer."""
_BLAMED: Final = (Scope.DEPLOYMENT, Scope.PROVIDER)
_THROTTLED: Final = (ErrorClass.RATE_LIMIT, ErrorClass.OVERLOADED)


class Watching(Protocol):
    """Somebody who wants to know how a call ended."""

    def ended(self, record: DecisionRecord, now: float) -> None:
        """It has; `now` in monotonic seconds. Told under the store's lock."""


BUDGET: Final[StashKey[Watching]] = StashKey("budget of goals")
"""Whose error budget a call is counted in."""


class Observations:
    """Remembers how deployments did: how fast, how sure, how long their answers, what is under way.

    Preferences rank by it, `explain` shows it. Durations fade to a third in two minutes,
    successes and failures in half an hour; only what a deployment or its provider is to blame
    for is a failure. Lengths of answers are kept by model, and by feature of the context. Each
    process has its own; nothing is stored. Of more than 16,384 deployments the first are forgotten.

    What an answer teaches is worked out when somebody asks. Where nobody does, since no preference
    chooses by it, the last 2,048 answers are kept for that.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._news: deque[tuple[Experience, Outcome, str | None, float, int, int]] = deque(maxlen=MOST_NEWS)
        self._of: dict[str, Experience] = {}
        self._models: dict[tuple[str, str], Lengths] = {}
        self._aliases: dict[str, Lengths] = {}

    @hookimpl
    def begin_attempt(self, attempt: Attempt, call: Call) -> None:
        """One more under way."""
        if call.is_shadow:
            return
        with self._lock:
            known = self._of.get(attempt.deployment.id)
            if known is None:
                known = self._new(attempt)
            known.in_flight += 1

    @hookimpl
    def end_attempt(
        self, attempt: Attempt, outcome: Outcome, context: Context, call: Call, services: Services
    ) -> None:
        """Learn from how it ended. Calls that nobody waits for teach nothing: no choice hangs on them."""
        if call.is_shadow:
            return
        status = outcome.status
        with self._lock:
            known = self._of.get(attempt.deployment.id)
            if known is None:
                known = self._new(attempt)
            if status == "success":
                now = services.clock.monotonic()
                answers = _answers(attempt.deployment, call.request)
                self._news.append((known, outcome, context.feature, now, known.in_flight, answers))
            elif status == "error":
                self._learn()
                _failed(known, outcome, services.clock.monotonic())
            elif status == "cancelled" and attempt.limits.hedge_after is not None:
                # It lost against its hedge: leaving it out would make the slow look fast.
                self._learn()
                known.waited(services.clock.monotonic(), outcome.latency)
            if known.in_flight:
                known.in_flight -= 1

    def _learn(self) -> None:
        """From the answers that have come."""
        with self._lock:
            news = self._news
            while news:
                known, outcome, feature, at, under_way, answers = news.popleft()
                usage = outcome.usage
                output = usage.total_output
                if answers > 1:
                    output = -(-output // answers)
                known.answered(at, outcome.latency, outcome.first_token, output, under_way)
                lengths = known.lengths
                if output:
                    lengths.add(output, feature)
                    known.of_alias.add(output, feature)
                if usage.cached_input or usage.cache_write or lengths.cached.count:
                    lengths.read(usage)

    @hookimpl
    def end_call(self, record: DecisionRecord, call: Call, services: Services) -> None:
        """Count the call in the error budget of the goals it was chosen by."""
        watching = call.stashed(BUDGET)
        if watching is not None and not call.is_shadow:
            with self._lock:
                watching.ended(record, services.clock.monotonic())

    def of(self, deployment_id: str, now: float | None = None) -> Observed:
        """What is known of a deployment.

        Args:
            now: Monotonic seconds, for its age; None leaves that out.
        """
        with self._lock:
            self._learn()
            known = self._of.get(deployment_id)
            return Observed() if known is None else _shown(known, now)

    def __iter__(self) -> Iterator[str]:
        """Ids of the deployments that were seen."""
        with self._lock:
            return iter(tuple(self._of))

    def experience(self, deployment_id: str) -> Experience | None:
        """The store's own entry, which changes while it is read: for those who choose, in a hurry."""
        if self._news:
            self._learn()
        return self._of.get(deployment_id)

    def lengths(self, provider: str, model: str) -> Lengths | None:
        """How long a model's answers are."""
        if self._news:
            self._learn()
        return self._models.get((provider, model))

    def lengths_of_alias(self, alias: str) -> Lengths | None:
        """How long the answers of all its deployments are."""
        if self._news:
            self._learn()
        return self._aliases.get(alias)

    def _new(self, attempt: Attempt) -> Experience:
        deployment = attempt.deployment
        if len(self._of) >= MOST_DEPLOYMENTS:
            del self._of[next(iter(self._of))]
        lengths = _kept(self._models, (deployment.provider, deployment.model))
        made = self._of[deployment.id] = Experience(lengths, _kept(self._aliases, deployment.alias))
        return made


def observations_of(services: Services) -> Observations:
    """The gateway's own.

    Raises:
        LookupError: It has none.
    """
    for _, plugin in services.plugins:
        if isinstance(plugin, Observations):
            return plugin
    raise LookupError(
        "this preference needs the plugin Observations, which is built in unless defaults=False"
    )


K = TypeVar("K", bound=Hashable)


def _kept(among: dict[K, Lengths], key: K) -> Lengths:
    found = among.get(key)
    if found is None:
        if len(among) >= MOST_MODELS:
            del among[next(iter(among))]
        found = among[key] = Lengths()
    return found


def _answers(deployment: Deployment, request: Request) -> int:
    """How many answers were asked for: lengths are those of one. Nearly always nobody says."""
    params = request.params
    if not deployment.params and params.keys().isdisjoint(_SEVERAL):
        return 1
    return answers_of(sent_params(deployment, request))


def _failed(known: Experience, outcome: Outcome, now: float) -> None:
    failure = outcome.failure
    if failure is None:
        return
    if failure.error_class in _THROTTLED:
        known.throttles += 1
    if failure.scope in _BLAMED:
        known.failed(now)
        if failure.error_class is ErrorClass.TIMEOUT and outcome.first_token is None:
            known.waited(now, outcome.latency)


def _shown(known: Experience, now: float | None) -> Observed:
    trials = known.successes + known.failures
    low, high = wilson(known.successes, trials, Z)
    seen, lengths, durations = known.count > 0, known.lengths, known.durations
    return Observed(
        samples=known.count,
        latency=known.latency if seen else None,
        first_token=known.first_token if known.streams else None,
        per_token=known.per_token,
        p50=durations.quantile(0.5),
        p95=durations.quantile(0.95),
        p99=durations.quantile(0.99),
        successes=known.successes,
        failures=known.failures,
        success=known.successes / trials if trials else None,
        success_low=low,
        success_high=high,
        throttles=known.throttles,
        in_flight=known.in_flight,
        output=lengths.whole.mean if lengths.whole.count else None,
        cached=lengths.cached.mean if lengths.whole.count else None,
        age=None if now is None or not seen else now - known.seen,
    )
