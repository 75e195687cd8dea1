"""How long a deployment may keep silent: short where others wait, as its own history says; and hedging."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any, Final

from llmgate_plugins.decisions import Skip
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.limits import Limits
from llmgate_plugins.plugins.arguments import non_negative, positive
from llmgate_plugins.types import Attempt, Deployment, ErrorClass, Outcome, Request, Scope

__all__ = ["Patience"]

GAIN: Final = 1 / 8
DEVIATION_GAIN: Final = 1 / 4
DEVIATIONS: Final = 4
"""As TCP's retransmission timer: mean + 4 mean deviations, smoothed by 1/8 and 1/4 (RFC 6298)."""
MUCH: Final = 0.1
"""The part by which what is expected must change for limits to be worked out anew; within a tenth
of a second nothing does."""
KEPT: Final = 256
LEAST_SAMPLES: Final = 20
"""Waits of one model that are kept for the p95 of hedging, and how many it takes to trust it."""
MOST_MODELS: Final = 10_000
THINKING: Final = ("reasoning_effort", "thinking", "reasoning")


class _History:
    """The waits of one model for a first token (or for a whole answer)."""

    __slots__ = ("alone", "deviation", "limits", "mean", "place", "told", "waits")

    def __init__(self) -> None:
        self.mean: float | None = None
        self.deviation = 0.0
        self.told = 0.0
        self.waits: list[float] = []
        self.place = 0
        self.limits: Limits | None = None
        self.alone: Limits | None = None

    def add(self, wait: float) -> bool:
        """One more; whether much else is expected now than when this was last said."""
        mean = self.mean
        if mean is None:
            self.mean, self.deviation = wait, wait / 2
        else:
            further = wait - mean
            self.mean = mean + GAIN * further
            self.deviation += DEVIATION_GAIN * (abs(further) - self.deviation)
        expected = self.mean + DEVIATIONS * self.deviation
        told = self.told
        if abs(expected - told) <= (MUCH * told if told > 1.0 else MUCH):
            return False
        self.told = expected
        return True

    def keep(self, wait: float) -> bool:
        """Keep one for the p95; whether that is still being learned."""
        if len(self.waits) < KEPT:
            self.waits.append(wait)
            return True
        self.waits[self.place] = wait
        self.place = (self.place + 1) % KEPT
        return False

    @property
    def expected(self) -> float | None:
        """The wait that is hardly ever exceeded, in seconds."""
        return None if self.mean is None else self.mean + DEVIATIONS * self.deviation

    @property
    def p95(self) -> float | None:
        """The wait that one of twenty exceeds."""
        if len(self.waits) < LEAST_SAMPLES:
            return None
        return sorted(self.waits)[min(math.ceil(0.95 * (len(self.waits) + 1)), len(self.waits)) - 1]


_NONE: Final[tuple[Deployment | None, Request | None, _History]] = (None, None, _History())


class Patience:
    """Sets the time limits of every attempt.

    While other deployments or fallback aliases are left, a deployment that keeps silent is
    given up early: at first after `first_token` seconds, later after what its model's own
    history suggests (mean and four mean deviations), between `shortest` and `longest`. With
    nothing left to try it gets `longest`. Models that think before they speak get `thinking`
    seconds at first, as does the gap between two of their chunks. A whole answer, of which
    nothing shows before it is there, gets `whole`, or longer if its model has been slower.

    Hedging is off by default, since every loser is billed. Switched on, a request that is
    still without a first token (an answer) when 95 of 100 others had one is sent to the next
    deployment too, and the slower one is cancelled.

    Args:
        connect: Seconds until a connection must be there.
        first_token, shortest, longest, thinking, whole: See above, in seconds.
        gap: Seconds between two chunks of a stream.
        hedge: At most this share of calls may be hedged (0.05: one in twenty); 0 for none.
    """

    def __init__(
        self,
        *,
        connect: float = 5.0,
        first_token: float = 30.0,
        shortest: float = 10.0,
        longest: float = 300.0,
        thinking: float = 120.0,
        whole: float = 120.0,
        gap: float = 20.0,
        hedge: float = 0.0,
    ) -> None:
        self._connect = positive("connect", connect)
        self._first_token = positive("first_token", first_token)
        self._shortest = positive("shortest", shortest)
        self._longest = positive("longest", longest)
        self._thinking = positive("thinking", thinking)
        self._whole = positive("whole", whole)
        self._gap = positive("gap", gap)
        self._hedge = non_negative("hedge", hedge)
        if hedge > 1:
            raise ValueError(f"hedge is a share of calls between 0 and 1, not {hedge!r}")
        if longest < shortest:
            raise ValueError(f"longest ({longest}) must not be below shortest ({shortest})")
        self._lock = threading.Lock()
        self._hedges = 1.0
        self._histories: dict[tuple[str, str, bool, bool], _History] = {}
        self._latest = _NONE

    @hookimpl
    def limit_attempt(self, deployment: Deployment, alternatives: int, request: Request) -> Limits:
        """Short where there is an alternative, long where there is none."""
        history = self._history(deployment, request)
        limits = history.limits if alternatives else history.alone
        return limits if limits is not None else self._set(history, deployment, request, bool(alternatives))

    @hookimpl
    def begin_attempt(self, attempt: Attempt) -> Skip | None:
        """Count calls and hedges, so that hedges stay a small share."""
        if not self._hedge:
            return None
        with self._lock:
            if attempt.reason == "first":
                self._hedges = min(self._hedges + self._hedge, 10.0)
            elif attempt.reason == "hedge":
                if self._hedges < 1:
                    return Skip("hedge_budget")
                self._hedges -= 1
        return None

    @hookimpl
    def end_attempt(self, attempt: Attempt, outcome: Outcome, request: Request) -> None:
        """Learn how long this model takes; a time-out counts as the time that was waited."""
        wait = _waited(attempt, outcome, request)
        history = None if wait is None else self._history(attempt.deployment, request)
        self._latest = _NONE  # a request must not be kept for longer than its call takes
        if wait is None or history is None:
            return
        with self._lock:
            learning = bool(self._hedge) and history.keep(wait)
            if history.add(wait) or learning:
                history.limits = history.alone = None  # worked out anew when next asked for

    def _history(self, deployment: Deployment, request: Request) -> _History:
        """Asked twice for each attempt, mostly one after the other."""
        of_deployment, of_request, history = self._latest
        if of_request is request and of_deployment is deployment:
            return history
        params = request.params
        thinks = "reasoning" in deployment.capabilities or bool(params and _thinks(params))
        key = (deployment.provider, deployment.model, request.stream, thinks)
        known = self._histories.get(key)
        if known is None:
            if len(self._histories) >= MOST_MODELS:
                self._histories.clear()
            known = self._histories[key] = _History()
        self._latest = (deployment, request, known)
        return known

    def _set(
        self, history: _History, deployment: Deployment, request: Request, has_alternative: bool
    ) -> Limits:
        params = request.params
        thinks = "reasoning" in deployment.capabilities or bool(params and _thinks(params))
        gap = max(self._gap, self._thinking) if thinks else self._gap
        expected = history.expected
        if not has_alternative:
            patience = max(self._longest, expected or 0.0) if request.stream else None
            limits = history.alone = Limits(connect=self._connect, first_token=patience, gap=gap)
            return limits
        if request.stream:
            first = self._thinking if thinks else self._first_token
            patience = first if expected is None else min(max(expected, self._shortest), self._longest)
        else:
            patience = max(self._whole, self._thinking if thinks else 0.0, expected or 0.0)
        after = history.p95 if self._hedge else None
        limits = history.limits = Limits(
            connect=self._connect, first_token=patience, gap=gap, hedge_after=after
        )
        return limits


def _waited(attempt: Attempt, outcome: Outcome, request: Request) -> float | None:
    """Seconds for which it kept silent, or at least that; None where that teaches nothing."""
    if outcome.status == "success":
        return outcome.first_token if request.stream else outcome.latency
    if outcome.first_token is not None:
        return None
    hedged = attempt.limits.hedge_after
    if outcome.status == "cancelled" and hedged is not None and outcome.latency >= hedged:
        # It lost against its hedge. Leaving it out would make the p95 of those that did
        # not look like that of all, and ever more calls would be hedged ever sooner.
        return outcome.latency
    failure = outcome.failure
    if failure is None or failure.error_class is not ErrorClass.TIMEOUT or failure.scope is Scope.CALLER:
        return None
    return outcome.latency


def _thinks(params: Mapping[str, Any]) -> bool:
    """Whether the request asks the model to think."""
    return any(params.get(name) not in (None, "none", "minimal") for name in THINKING if name in params)
