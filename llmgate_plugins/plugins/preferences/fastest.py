"""The fastest deployment first."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.plugins.preferences.preferring import Learning
from llmgate_plugins.services import Services
from llmgate_plugins.types import Attempt, Deployment, Outcome, Request

__all__ = ["Fastest"]


class _Speed:
    """What is known of one deployment: averages in which the old fades, and how often it was too slow."""

    __slots__ = ("explored", "first_token", "latency", "samples", "seen", "slow")

    def __init__(self) -> None:
        self.latency: float | None = None
        self.first_token: float | None = None
        self.slow: list[float] = []
        self.samples = 0
        self.seen = -math.inf
        self.explored = -math.inf

    def score(self, stream: bool) -> float | None:
        """Expected seconds; None if nobody knows."""
        if stream and self.first_token is not None:
            return self.first_token
        return self.latency if self.latency is not None else self.first_token


LEAST_SHARE: Final = 1 / 60
"""What a single sample counts for in how often a goal was missed, once there are many."""
MOST_DEPLOYMENTS: Final = 10_000


class Fastest(Learning):
    """The shortest expected time first: to the first token of a stream, else to the whole answer.

    Learns from what it sees served, in this process. A deployment not seen for a `window`
    counts as unknown again, and an unknown one is tried first, by one call at a time, so
    that what has become fast is found out. Scores are seconds. Failed attempts teach
    nothing here: failing fast is not being fast.

    Args:
        window: Seconds after which an observation has faded to about a third.
        p50, p95, p99: Goals in seconds. Deployments that miss one more often than it
            allows rank behind those that do not.
    """

    def __init__(
        self,
        window: float = 300.0,
        *,
        p50: float | None = None,
        p95: float | None = None,
        p99: float | None = None,
    ) -> None:
        goals = (("window", window, 0.0), ("p50", p50, 0.5), ("p95", p95, 0.05), ("p99", p99, 0.01))
        for name, value, _ in goals:
            if value is not None:
                positive(name, value)
        self._window = window
        self._goals = tuple((value, allowed) for _, value, allowed in goals[1:] if value is not None)
        self._lock = threading.Lock()
        self._speeds: dict[str, _Speed] = {}

    def rank(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002 - one signature for all
        call: Call,
        services: Services,
    ) -> Ranking:
        """By expected time, unknown ones first while nobody is finding out about them."""
        now = services.clock.monotonic()
        keyed = []
        scores = {}
        explore: tuple[int, _Speed] | None = None
        with self._lock:
            for place, one in enumerate(deployments):
                speed = self._known(one.id, now)
                score = speed.score(request.stream)
                if score is not None:
                    scores[one.id] = score
                elif explore is None and now - speed.explored >= self._window:
                    explore = (place, speed)
                late = score is not None and self._misses(speed)
                keyed.append((late, math.inf if score is None else score, place))
            if explore is not None and not call.hypothetical:
                explore[1].explored = now
        keyed.sort()
        order = [deployments[place] for _, _, place in keyed]
        if explore is not None:
            first = deployments[explore[0]]
            order.remove(first)
            order.insert(0, first)
        reason = "fastest first, seconds" if explore is None else f"finding out about {order[0].id}"
        return Ranking(order, scores=scores, reason=reason)

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, services: Services) -> None:
        """Learn from an answer."""
        if outcome.status != "success":
            return
        now = services.clock.monotonic()
        with self._lock:
            speed = self._known(attempt.deployment.id, now)
            fade = 1.0 if speed.samples == 0 else _fade(now - speed.seen, self._window)
            speed.latency = _mixed(speed.latency, outcome.latency, fade)
            if outcome.first_token is not None:
                speed.first_token = _mixed(speed.first_token, outcome.first_token, fade)
            speed.samples += 1
            share = max(1 / speed.samples, LEAST_SHARE)
            took = outcome.latency if outcome.first_token is None else outcome.first_token
            speed.slow = [
                _mixed(before, float(took > goal), share)
                for before, (goal, _) in zip(speed.slow or [0.0] * len(self._goals), self._goals, strict=True)
            ]
            speed.seen = now

    def _known(self, id: str, now: float) -> _Speed:
        """What is known of it; under the lock."""
        speed = self._speeds.get(id)
        if speed is None or (speed.samples and now - speed.seen > self._window):
            if speed is None and len(self._speeds) >= MOST_DEPLOYMENTS:
                del self._speeds[next(iter(self._speeds))]
            speed = self._speeds[id] = _Speed()
        return speed

    def _misses(self, speed: _Speed) -> bool:
        return any(share > allowed for share, (_, allowed) in zip(speed.slow, self._goals, strict=False))


LEAST_FADE: Final = 0.1
"""What one observation counts for at least, so that a burst of calls also teaches."""


def _fade(elapsed: float, window: float) -> float:
    return max(LEAST_FADE, 1.0 - math.exp(-elapsed / window))


def _mixed(before: float | None, sample: float, share: float) -> float:
    return sample if before is None else before + share * (sample - before)
