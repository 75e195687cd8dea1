"""The fastest deployment first."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Scores
from llmgate_plugins.plugins.observations import Experience
from llmgate_plugins.plugins.observations.experience import STALE
from llmgate_plugins.plugins.preferences.expected import asked_at, asked_of, written_by
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.services import Services
from llmgate_plugins.types import Deployment, Request

__all__ = ["Fastest"]

AT_ONCE: Final = 4
"""So many calls under way are never too many."""
GROWTH: Final = 2
"""So many times as many as there usually are may be under way before it counts."""
FRESH: Final = 10.0
FADING: Final = 300.0
"""What was not seen for more than ten seconds counts for less and less, so that it is seen again: the
sooner the closer it was to the best. It has halved after three minutes and a half."""
LEAST: Final = 0.1
"""Part of the usual time that even the shortest answer takes."""


class Fastest(Scored):
    """The shortest expected time first: to the first token of a stream, else to the whole answer.

    An answer is expected to take what those of a deployment have taken lately, and more or less
    for each token by which it will be longer or shorter. Those that are as fast as the best
    within a quarter are drawn from, twice, and the faster one wins (power of two choices;
    Mitzenmacher 2001). Where more than twice as many calls are under way as when that was
    measured, the time counts as so much longer (as in Finagle's peak EWMA): so nobody is
    trampled for having been fast. What is not used any more counts as faster from one minute to
    the next, until it is used again: the closer it was to the best, the sooner. Failed
    attempts teach nothing here: failing fast is not being fast.

    Scores are seconds. Goals, and what is tried out: see `Scored`.
    """

    prefers = "fastest"
    unit = "s"
    learns = True
    near = 1.25

    def is_known(self, known: Experience, request: Request, now: float) -> bool:
        """Whether it has answered lately, by a stream if one is asked for."""
        count = known.streams if request.stream else known.count
        return count > 0.0 and now - known.seen <= STALE

    def scores(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,  # noqa: ARG002 - one signature for all
        services: Services,
    ) -> Scores:
        """Seconds."""
        store, now = self.observations(services), services.clock.monotonic()
        assert store is not None  # noqa: S101 - it cannot do without
        values: dict[str, float] = {}
        state: dict[str, dict[str, float]] = {}
        stream = request.stream
        asked = None
        for one in deployments:
            known = store.experience(one.id)
            if known is None:
                continue
            if stream:
                if not known.streams:
                    continue
                seconds, count = known.first_token, known.streams
            else:
                if not known.count:
                    continue
                seconds, count = known.latency, known.count
                slope = known.per_token
                if slope:
                    if asked is None:
                        asked = asked_of(request, one.alias, context.feature, store)
                    here = asked_at(one, request, asked)
                    more = slope * (written_by(one, known.lengths, here) - known.output)
                    seconds = max(seconds + more, LEAST * seconds)
            if (age := now - known.seen) > FRESH:
                seconds *= exp((FRESH - age) / FADING)
            under_way = known.in_flight
            state[one.id] = {"samples": count, "expected_s": seconds, "in_flight": under_way}
            usual = GROWTH * known.usual + AT_ONCE
            values[one.id] = seconds * (under_way + 1) / usual if under_way >= usual else seconds
        return Scores(values, self.unit, state)
