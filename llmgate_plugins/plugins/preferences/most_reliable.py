"""The deployment first that is the most certain to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Scores
from llmgate_plugins.intervals import Z, wilson
from llmgate_plugins.plugins.observations import Experience
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.services import Services
from llmgate_plugins.types import Deployment, Request

__all__ = ["MostReliable"]

LEAST: Final = 0.05
"""The lowest share of successes that is believed in, so that a score is never without end."""
ENOUGH: Final = 10.0
"""After so many attempts a deployment is known."""


class MostReliable(Scored):
    """The highest share of successes first: not the share that was seen, but the least that it may be.

    That is the lower end of Wilson's 95 % interval (1927), so that three answers without a
    failure do not beat three thousand with two. Only failures that a deployment or its provider
    is to blame for count, and they fade to a third in half an hour. Scores are the attempts that
    one answer takes at that rate: 1 divided by it.

    Goals, and what is tried out: see `Scored`.
    """

    prefers = "most_reliable"
    unit = "attempts"
    learns = True

    def is_known(self, known: Experience, request: Request, now: float) -> bool:  # noqa: ARG002
        """Whether it was tried often enough."""
        return known.successes + known.failures >= ENOUGH

    def scores(
        self,
        request: Request,  # noqa: ARG002 - one signature for all
        deployments: Sequence[Deployment],
        context: Context,  # noqa: ARG002
        call: Call,  # noqa: ARG002
        services: Services,
    ) -> Scores:
        """Attempts per answer, at the worst."""
        store, now = self.observations(services), services.clock.monotonic()
        assert store is not None  # noqa: S101 - it cannot do without
        values: dict[str, float] = {}
        state: dict[str, dict[str, float]] = {}
        for one in deployments:
            known = store.experience(one.id)
            if known is None:
                continue
            successes, failures = known.judged_at(now)
            trials = successes + failures
            if not trials:
                continue
            low = wilson(successes, trials, Z).low
            values[one.id] = 1 / max(low, LEAST)
            state[one.id] = {"successes": successes, "failures": failures, "success_low": low}
        return Scores(values, self.unit, state)
