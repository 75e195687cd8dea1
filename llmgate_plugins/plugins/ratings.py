"""`prefer: best_rated`: learns from feedback whose answers are liked, by Thompson sampling."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

from llmgate_plugins.context import Call
from llmgate_plugins.decisions import Scores
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.arguments import positive
from llmgate_plugins.plugins.pending import carried
from llmgate_plugins.services import Feedback, MaybePending, Services, State
from llmgate_plugins.types import Deployment

__all__ = ["BEST_RATED", "Ratings", "beta_draw"]

BEST_RATED: Final = "best_rated"
"""The preference's name."""

REFRESHED: Final = 30.0
"""Seconds after which what other processes have heard is asked for again."""
REMEMBERED: Final = 7 * 86_400.0
"""Seconds in which a word about a call takes the place of one before."""
EPOCHS: Final = 4
"""Half-lives that are remembered; what is older weighs less than a sixteenth."""
MOST: Final = 10_000
"""Deployments that are remembered here; the state has them all."""

_ONE: Final = 1 << 40
"""One rating in a counter: how many there are stands above this bit, the sum of scores below it."""
_SCALE: Final = 1_000_000
_HALF: Final = 1 << 26
_quantile: Final = NormalDist().inv_cdf

Steps = Generator[Sequence[MaybePending[Any]], list[Any], Scores]


class Ratings:
    """Prefers deployments whose answers people rate best, and keeps finding out about the others.

    For each call and deployment a chance of pleasing is drawn from what is known (Thompson 1933,
    Biometrika 25:285): a Beta distribution that begins as Beta(1, 1), anything being as likely as
    anything else, and counts each score as so much of a success. The highest draw serves. So the
    best is chosen more and more often, and an unrated one as often as it may still be the best.
    A rating counts half after `half_life`, and four times that later no more.

    Drawn by the call's id: the same call draws the same. Ratings stand in the gateway's state,
    so that feedback which one process hears teaches all. Of several of one call the last one counts.

    Args:
        of: Name of the feedback that counts.
        half_life: Seconds after which a rating counts half, in steps.
    """

    def __init__(self, of: str = "quality", *, half_life: float = 7 * 86_400.0) -> None:
        self.of = of
        self._half_life = positive("half_life", half_life)
        self._known: dict[str, tuple[float, float, float]] = {}
        self._lock = threading.Lock()

    @hookimpl
    def receive_feedback(self, feedback: Feedback, services: Services) -> MaybePending[object]:
        """Learn what somebody thought of an answer."""
        deployment, score = feedback.deployment, feedback.score
        if feedback.name != self.of or deployment is None or score is None:
            return None
        told = (feedback.id, self._key(deployment, self._epoch(feedback.at)), _ONE + round(score * _SCALE))
        return carried(self._counted(feedback.call_id, told, deployment, services.state))

    @hookimpl
    def score_deployments(
        self, preference: str, deployments: Sequence[Deployment], call: Call, services: Services
    ) -> MaybePending[Scores | None]:
        """One less the chance of pleasing that was drawn for each."""
        if preference != BEST_RATED:
            return None
        now = services.clock.monotonic()
        known = self._known
        stale = [one.id for one in deployments if one.id not in known or now - known[one.id][0] > REFRESHED]
        if not stale:
            return self._drawn(deployments, call)
        return carried(self._looked_up(stale, deployments, call, services))

    def rating(self, deployment_id: str) -> tuple[float, float] | None:
        """(how many ratings, their mean) as they weigh now; None if nobody has asked for it here."""
        found = self._known.get(deployment_id)
        if found is None:
            return None
        _, good, bad = found
        number = good + bad
        return number, good / number if number else 0.5

    def _counted(
        self, call_id: str, told: tuple[str, str, int], deployment: str, state: State
    ) -> Generator[Sequence[MaybePending[Any]], list[Any], None]:
        """Of several words about one call the last one counts, and none of them twice."""
        name, ttl = f"rated:{self.of}:{call_id}", self._half_life * (EPOCHS + 1)
        (found,) = yield [state.get(name)]
        adds = [told[1:]]
        if found is not None:
            before, key, counted = json.loads(found)
            if before == told[0]:
                return
            adds.append((key, -counted))
        yield [state.put(name, json.dumps(told).encode(), ttl=REMEMBERED)]
        yield [state.add(key, amount, ttl=ttl) for key, amount in adds]
        self._forget(deployment)

    def _looked_up(
        self, stale: Sequence[str], deployments: Sequence[Deployment], call: Call, services: Services
    ) -> Steps:
        epoch = self._epoch(services.clock.time())
        state, ttl = services.state, self._half_life * (EPOCHS + 1)
        ages = range(EPOCHS)
        found = yield [state.add(self._key(one, epoch - age), 0, ttl=ttl) for one in stale for age in ages]
        now = services.clock.monotonic()
        with self._lock:
            if len(self._known) + len(stale) > MOST:
                self._known.clear()
            for place, one in enumerate(stale):
                good = bad = 0.0
                for age, packed in zip(ages, found[place * EPOCHS :], strict=False):
                    number, total = divmod(packed, _ONE)
                    weight = 0.5**age
                    good += weight * total / _SCALE
                    bad += weight * (number - total / _SCALE)
                self._known[one] = (now, good, bad)
        return self._drawn(deployments, call)

    def _drawn(self, deployments: Sequence[Deployment], call: Call) -> Scores:
        values: dict[str, float] = {}
        state: dict[str, dict[str, float]] = {}
        for one in deployments:
            _, good, bad = self._known.get(one.id, (0.0, 0.0, 0.0))
            values[one.id] = 1.0 - beta_draw(1.0 + good, 1.0 + bad, call.draw(f"best_rated: {one.id}"))
            number = good + bad
            state[one.id] = {"ratings": number, "rating": good / number if number else 0.5}
        return Scores(values, state=state)

    def _forget(self, deployment: str) -> None:
        with self._lock:
            self._known.pop(deployment, None)

    def _epoch(self, at: float) -> int:
        return int(at // self._half_life)

    def _key(self, deployment: str, epoch: int) -> str:
        return f"rating:{self.of}:{deployment}:{self._half_life:g}:{epoch}"


def beta_draw(a: float, b: float, lot: float) -> float:
    """A number from a Beta distribution by one lot from 0 up to 1, the same for the same lot.

    As the share of two Gamma numbers, each by Wilson and Hilferty's cube root (1931, PNAS 17:684):
    right within 0.02 in any quantile for a, b >= 1, and a hundred times faster than the exact
    inverse.
    """
    high, low = divmod(lot * _HALF, 1.0)
    one, other = _gamma(a, (high + 0.5) / _HALF), _gamma(b, min(max(low, 1e-12), 1 - 1e-12))
    whole = one + other
    return one / whole if whole > 0 else 0.5


def _gamma(shape: float, lot: float) -> float:
    root = 1 - 1 / (9 * shape) + _quantile(lot) / (3 * sqrt(shape))
    return shape * max(root, 0.0) ** 3
