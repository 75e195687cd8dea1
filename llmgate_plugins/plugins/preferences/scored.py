"""What preferences have in common that go by numbers: a few are looked at, some tried out, goals kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking, Scores
from llmgate_plugins.draws import Lots
from llmgate_plugins.plugins.observations import Experience, Observations, observations_of
from llmgate_plugins.plugins.observations.plugin import BUDGET
from llmgate_plugins.plugins.pending import arrived
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.plugins.preferences.goals import Budget, goals_of
from llmgate_plugins.plugins.preferences.preferring import Preferring
from llmgate_plugins.plugins.preferences.shortlist import Shortlist
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import EMPTY, Deployment, Request

__all__ = ["Scored"]

TRIALS: Final = 8.0
"""So many calls may try out deployments of an alias of which nothing is known, one after another."""
TRIAL_SHARE: Final = 1 / 20
"""After that, one call of so many."""
MOST_KEYS: Final = 1024

Known = list[tuple[float, int, Deployment]]
"""(score, place, deployment)."""


class Scored(Preferring):
    """The lowest score first.

    Of more than ten deployments each call looks at eight: the best six that were found before,
    and two by lot. Where scores come from experience, what is not known is tried out, by one call
    at a time: eight calls in a row at first, then one in twenty.

    Goals make the choice one of those that keep them. While there is slack, a deployment may
    miss a goal twice as often as is allowed; when nine tenths of the error budget are burnt only
    half as often, until it is half full again. If nobody keeps them, those that come closest are
    first.

    Args:
        p50, p95, p99: Seconds within which that share of the calls should end.
        success: The share of calls that should succeed, 0.99.

    Raises:
        ValueError: A goal makes no sense; the message names it.

    Attributes:
        prefers: What, in a word.
        unit: What is counted.
        learns: Whether scores come from experience, so that the unknown is worth a trial.
        near: Those that score at most so many times the best one's score are drawn from.
    """

    prefers: str
    unit: str = ""
    learns: bool = False
    near: float = 1.0
    needs_observations: ClassVar[bool] = True

    def __init__(
        self,
        *,
        p50: float | None = None,
        p95: float | None = None,
        p99: float | None = None,
        success: float | None = None,
    ) -> None:
        self.goals: Final = goals_of(p50, p95, p99, success)
        self._trial_share = min([TRIAL_SHARE, *(goal.allowed / 5 for goal in self.goals)])
        self._trials: dict[str, float] = {}
        self._budgets: dict[str | None, Budget] = {}
        self._shortlists: PerGroup[None, Shortlist] = PerGroup(Shortlist)
        self._found: tuple[Services, Observations | None] | None = None

    @abstractmethod
    def scores(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Scores | None]:
        """What it thinks of these few."""

    def is_known(self, known: Experience, request: Request, now: float) -> bool:  # noqa: ARG002
        """Whether there is anything to go by."""
        return known.is_known(now)

    def nominated(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:  # noqa: ARG002
        """Those of a large group that it is sure of wanting."""
        return ()

    def rank(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """The best of a few, and behind them the others as they come."""
        if not deployments:
            return None
        shortlist = self._shortlists.of(deployments, None)
        lots = Lots(call.draw(f"prefer: {self.prefers}"))
        named = self.nominated(deployments)
        few = shortlist.candidates(lots, named)
        answer = self.scores(request, few, context, call, services)
        if answer is None or isinstance(answer, Scores):
            return self._ranking(answer, shortlist, few, lots, context, call, services)
        return self._later(answer, shortlist, few, lots, context, call, services)

    async def _later(
        self,
        answer: MaybePending[Scores | None],
        shortlist: Shortlist,
        few: Sequence[Deployment],
        lots: Lots,
        context: Context,
        call: Call,
        services: Services,
    ) -> Ranking | None:
        return self._ranking(await arrived(answer), shortlist, few, lots, context, call, services)

    def _ranking(
        self,
        scores: Scores | None,
        shortlist: Shortlist,
        few: Sequence[Deployment],
        lots: Lots,
        context: Context,
        call: Call,
        services: Services,
    ) -> Ranking | None:
        if scores is None:
            return None
        values = scores.values
        known = [(values[one.id], place, one) for place, one in enumerate(few) if one.id in values]
        known.sort()
        reason = f"{self.prefers} first"
        budget, equal, state = None, len(known), scores.state
        if self.goals:
            budget = self._budget(context.feature)
            missed: dict[str, Mapping[str, float]] = {}
            known, equal, reason = self._kept(known, budget, services, reason, missed)
            state = {one.id: {**state.get(one.id, EMPTY), **missed.get(one.id, EMPTY)} for one in few}
            if not call.hypothetical:
                call.stash[BUDGET] = budget
        if self.near > 1.0 and equal > 1:
            place = self._drawn(known, equal, lots)
            if place:
                known.insert(0, known.pop(place))
        order = [one for _, _, one in known]
        if len(known) < len(few):
            order += [one for one in few if one.id not in values]
        if self.learns or budget is not None:
            tried = self._trial(few, lots, budget, call, services)
            if tried is not None:
                order.remove(tried)
                order.insert(0, tried)
                reason = f"finding out about {tried.id}"
        if not call.hypothetical:
            shortlist.keep(order)
        return Ranking(order, scores=values, reason=reason, parts=self.parts(scores), state=state)

    def parts(self, scores: Scores) -> Mapping[str, Mapping[str, float]]:  # noqa: ARG002 - see `Weighing`
        """What each of several preferences says."""
        return EMPTY

    def observations(self, services: Services) -> Observations | None:
        """The gateway's store.

        Raises:
            LookupError: It has none, and this preference cannot do without.
        """
        found = self._found
        if found is None or found[0] is not services:
            try:
                found = self._found = (services, observations_of(services))
            except LookupError:
                if self.needs_observations or self.goals:
                    raise
                found = self._found = (services, None)
        return found[1]

    def _drawn(self, known: Known, equal: int, lots: Lots) -> int:
        """The better of two of those that are about as good as the best: both draws may fall on one."""
        most = known[0][0] * self.near
        near = 1
        while near < equal and known[near][0] <= most:
            near += 1
        return min(int(lots.next() * near), int(lots.next() * near)) if near > 1 else 0

    def _trial(
        self,
        few: Sequence[Deployment],
        lots: Lots,
        budget: Budget | None,
        call: Call,
        services: Services,
    ) -> Deployment | None:
        """One of which nothing is known, if this call shall find out about it."""
        store = self.observations(services)
        if store is None:
            return None
        now = services.clock.monotonic()
        request = call.request
        unknown: list[tuple[int, Deployment]] = []
        for one in few:
            known = store.experience(one.id)
            if known is None:
                unknown.append((0, one))
            elif not (self.is_known(known, request, now) if self.learns else known.is_known(now)):
                unknown.append((known.in_flight, one))
        if not unknown:
            return None
        if len(unknown) == len(few) and self.learns:  # nothing is known of anybody: share them out
            least = min(under_way for under_way, _ in unknown)
        elif budget is not None and budget.is_tight:
            return None
        else:
            least = 0
        idle = [one for under_way, one in unknown if under_way == least]
        if not idle or (len(unknown) < len(few) and not self._may_try(few[0].alias, call)):
            return None
        return idle[int(lots.next() * len(idle))]

    def _may_try(self, alias: str, call: Call) -> bool:
        """Whether it is time for one more trial."""
        saved = min(self._trials.get(alias, TRIALS) + self._trial_share, TRIALS)
        may = saved >= 1.0
        if not (call.hypothetical or call.is_shadow):
            if alias not in self._trials and len(self._trials) >= MOST_KEYS:
                self._trials.clear()
            self._trials[alias] = saved - may
        return may

    def _budget(self, feature: str | None) -> Budget:
        budget = self._budgets.get(feature)
        if budget is None:
            if len(self._budgets) >= MOST_KEYS:
                self._budgets.clear()
            budget = self._budgets[feature] = Budget(self.goals)
        return budget

    def _kept(
        self,
        known: Known,
        budget: Budget,
        services: Services,
        reason: str,
        missed: dict[str, Mapping[str, float]],
    ) -> tuple[Known, int, str]:
        """Those first that keep the goals, and then those that come closest.

        Args:
            missed: Gets what each misses of the goal that it keeps worst, and what it may miss.
        """
        store, now = self.observations(services), services.clock.monotonic()
        keeping: Known = []
        missing: list[tuple[float, tuple[float, int, Deployment]]] = []
        for one in known:
            seen = None if store is None else store.experience(one[2].id)
            if seen is None:
                missing.append((1.0, one))
                continue
            strain, misses, most = budget.strain(seen, now)
            missed[one[2].id] = {"misses": misses, "may_miss": most}
            # What has hardly been tried is not given everything at once.
            if strain <= 1.0 and seen.in_flight <= 2 * seen.count + 1:
                keeping.append(one)
            else:
                missing.append((strain, one))
        missing.sort(key=lambda one: one[0])
        state = "tight" if budget.is_tight else "relaxed"
        names = ", ".join(
            goal.name if goal.seconds is None else f"{goal.name} {goal.seconds:g} s" for goal in self.goals
        )
        reason = f"{reason} of those that keep {names}: {budget.burnt:.0%} of the budget burnt, {state}"
        return [*keeping, *(one for _, one in missing)], len(keeping), reason
