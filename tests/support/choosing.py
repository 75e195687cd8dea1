"""A preference at work by hand: attempts are told to it, and it is asked for orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmgate_plugins.context import NOBODY, Context
from llmgate_plugins.plugins import Observations
from llmgate_plugins.plugins.observations.plugin import BUDGET
from llmgate_plugins.plugins.preferences import Preferring
from llmgate_plugins.types import Deployment, ErrorClass, Failure, Outcome, Request, Scope, Usage
from support.values import a_call, a_deployment, a_request, an_attempt, some_services

__all__ = ["Choosing"]


class Choosing:
    """A preference, a store of observations, and a clock that moves when told to.

    Attributes:
        store: What was seen.
        services: With that store among the plugins.
    """

    def __init__(self, preference: Preferring, **services: Any) -> None:
        self.preference = preference
        self.store = Observations()
        self.services = replace(some_services(), plugins=(("Observations", self.store),), **services)
        self._calls = 0

    def saw(
        self,
        deployment: Deployment,
        latency: float = 1.0,
        output: int = 0,
        context: Context = NOBODY,
        **fields: Any,
    ) -> None:
        """An attempt that has ended."""
        attempt = an_attempt(deployment, started=self.services.clock.monotonic())
        outcome = Outcome(
            **({"status": "success", "latency": latency, "usage": Usage(input=10, output=output)} | fields)
        )
        self.store.begin_attempt(attempt, a_call())
        self.store.end_attempt(attempt, outcome, context, a_call(), self.services)

    def failed(self, deployment: Deployment, scope: Scope = Scope.DEPLOYMENT, **fields: Any) -> None:
        """An attempt that has failed."""
        failure = Failure(error_class=fields.pop("error_class", ErrorClass.SERVER), scope=scope)
        self.saw(deployment, **({"status": "error", "latency": 0.01, "failure": failure} | fields))

    def begin(self, deployment: Deployment, times: int = 1) -> None:
        """Attempts that are under way from now on."""
        for _ in range(times):
            self.store.begin_attempt(an_attempt(deployment), a_call())

    def ranking(
        self,
        *deployments: Deployment,
        group: Sequence[Deployment] | None = None,
        request: Request | None = None,
        context: Context = NOBODY,
        call: str | None = None,
        hypothetical: bool = False,
    ) -> Any:
        """What the preference says of a new call.

        Args:
            group: In place of deployments one by one: the same object, as a gateway has it.
        """
        self._calls += 1
        among = deployments if group is None else group
        asked = a_call(request or a_request(), context, call_id=call or f"call-{self._calls}")
        asked.hypothetical = hypothetical
        return self.preference.rank(asked.request, among, context, asked, self.services)

    def budget(self, context: Context = NOBODY) -> Any:
        """The error budget that calls of this context burn."""
        call = a_call(a_request(), context)
        self.preference.rank(call.request, (a_deployment("some"),), context, call, self.services)
        return call.stash[BUDGET]

    def order(self, *deployments: Deployment, **asked: Any) -> list[str]:
        """Ids, best first."""
        return [one.id for one in self.ranking(*deployments, **asked).order]

    def firsts(self, deployments: Sequence[Deployment], times: int, **asked: Any) -> dict[str, int]:
        """How often each came first."""
        found = dict.fromkeys([one.id for one in deployments], 0)
        group = tuple(deployments)
        for _ in range(times):
            found[self.order(group=group, **asked)[0]] += 1
        return found

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.services.clock.advance(seconds)  # type: ignore[attr-defined]
