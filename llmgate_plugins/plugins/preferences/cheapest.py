"""The deployment first at which this call is expected to cost least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from llmgate_plugins.context import Call, Context
from llmgate_plugins.decisions import Ranking, Scores
from llmgate_plugins.plugins.estimates import quoted_cost
from llmgate_plugins.plugins.observations import Lengths
from llmgate_plugins.plugins.per_group import PerGroup
from llmgate_plugins.plugins.preferences.expected import Asked, asked_at, asked_of, cost_of
from llmgate_plugins.plugins.preferences.scored import Scored
from llmgate_plugins.plugins.preferences.shortlist import FEW
from llmgate_plugins.services import MaybePending, Services
from llmgate_plugins.types import NANO, Deployment, Price, Request
from llmgate_plugins.usage import quoted, said_of_price

__all__ = ["Cheapest"]

USUAL: Final = (1_000, 250)
"""Tokens read and written of a call by which those are put in order that no call looks at."""
SORTS: Final = ((100, 1_000), USUAL, (10_000, 500), (300_000, 1_000))
"""Short questions with long answers, usual ones, long ones, and such that pass a price's threshold."""
_ANY: Final = Request(model="")
OF_EACH_SORT: Final = 16
MOST_KINDS: Final = 64
"""Up to so many different models and prices each call reckons with all; of more, with those that
are among the 16 cheapest for some sort of call."""


@dataclass(slots=True)
class _Kind:
    """Deployments at which the same call costs the same.

    Attributes:
        one: Any of them.
        says: Whether its configuration says something that decides what a call costs.
        lengths: How long their model's answers are, once that is known.
    """

    one: Deployment
    price: Price
    says: bool
    members: list[Deployment]
    lengths: Lengths | None = None


@dataclass(slots=True)
class _Table:
    """A group of deployments, sorted by what they cost.

    Attributes:
        rest: All of them, by what a usual call costs, those without a price last.
        unpriced: Those, in their order, as far as a call looks at them.
        named: The cheapest one for a usual call, and for other sorts of calls.
        orders: Order of kinds -> the first few deployments.
    """

    kinds: list[_Kind]
    rest: tuple[Deployment, ...]
    unpriced: tuple[Deployment, ...]
    named: tuple[Deployment, ...]
    orders: dict[tuple[int, ...], tuple[Deployment, ...]] = field(default_factory=dict)


class Cheapest(Scored):
    """The lowest expected cost of this very call first; deployments without a known price last.

    What is read is estimated from the request. What is written is expected to be as long as
    the model's answers to the same feature have been lately, and no longer than the request allows; 256
    tokens where nothing is known. Input counts at the price of the provider's cache as far as
    the model's input came from there lately, and at the price for inputs of its length.

    Scores are US dollars. Goals: see `Scored`; without any, those that cost the same stay in
    their configured order.
    """

    prefers = "cheapest"
    unit = "USD"
    needs_observations = False

    def __init__(
        self,
        *,
        p50: float | None = None,
        p95: float | None = None,
        p99: float | None = None,
        success: float | None = None,
    ) -> None:
        super().__init__(p50=p50, p95=p95, p99=p99, success=success)
        self._tables: PerGroup[None, _Table] = PerGroup(_table)

    def rank(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,
        services: Services,
    ) -> MaybePending[Ranking | None]:
        """By cost, among those that keep the goals if there are any."""
        if self.goals:
            return super().rank(request, deployments, context, call, services)
        return self.by_cost(request, deployments, context, services)

    def by_cost(
        self, request: Request, deployments: Sequence[Deployment], context: Context, services: Services
    ) -> Ranking:
        """By cost alone, reckoned once for each price and not for each deployment."""
        if request.quote is not None:
            return self._by_quote(request, deployments[:MOST_KINDS], context, services)
        table = self._tables.of(deployments, None)
        costs = self._costs(table, request, context, services)
        places = tuple([place for _, place, _ in costs])
        order = table.orders.get(places)
        if order is None:
            if len(table.orders) >= FEW * FEW:
                table.orders.clear()
            order = table.orders[places] = _few((table.kinds[place] for place in places), table.unpriced)
        values: dict[str, float] = {}
        state: dict[str, dict[str, float]] = {}
        for cost, place, facts in costs:
            for one in table.kinds[place].members[:FEW]:
                values[one.id] = cost
                state[one.id] = facts
            if len(values) >= FEW:
                break
        return Ranking(order, scores=values, reason="cheapest first, USD", state=state, rest=table.rest)

    def _by_quote(
        self, request: Request, deployments: Sequence[Deployment], context: Context, services: Services
    ) -> Ranking:
        """By what the host expects of each, of many the first; those without a price last."""
        values, state = self._expected(request, deployments, context, services)
        order = sorted(deployments, key=lambda one: values.get(one.id, math.inf))
        return Ranking(order, scores=values, reason="cheapest first, USD", state=state)

    def scores(
        self,
        request: Request,
        deployments: Sequence[Deployment],
        context: Context,
        call: Call,  # noqa: ARG002 - one signature for all
        services: Services,
    ) -> Scores:
        """US dollars."""
        values, state = self._expected(request, deployments, context, services)
        return Scores(values, self.unit, state)

    def _expected(
        self, request: Request, deployments: Sequence[Deployment], context: Context, services: Services
    ) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """(US dollars, what they come from), by deployment."""
        store = self.observations(services)
        asked = asked_of(request, deployments[0].alias, context.feature, store)
        values: dict[str, float] = {}
        state: dict[str, dict[str, float]] = {}
        for one in deployments:
            if (quote := quoted(one, request)) is not None:
                values[one.id] = quoted_cost(one, quote.probable) / NANO
            elif one.price is not None:
                lengths = None if store is None else store.lengths(one.provider, one.model)
                cost, written = cost_of(one, one.price, lengths, asked_at(one, request, asked))
                values[one.id] = cost / NANO
                state[one.id] = {"input_tokens": asked.read, "output_tokens": written}
        return values, state

    def nominated(self, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
        """Of a large group, the cheapest for calls of some sorts: what else is cheap is found in time."""
        if len(deployments) <= FEW:
            return ()
        return self._tables.of(deployments, None).named

    def _costs(
        self, table: _Table, request: Request, context: Context, services: Services
    ) -> list[tuple[float, int, dict[str, float]]]:
        """(US dollars, place of the kind, what they come from), the cheapest first."""
        if not table.kinds:
            return []
        store = self.observations(services)
        asked = asked_of(request, table.kinds[0].one.alias, context.feature, store)
        found = []
        for place, kind in enumerate(table.kinds):
            lengths = kind.lengths
            if lengths is None and store is not None:
                lengths = kind.lengths = store.lengths(kind.one.provider, kind.one.model)
            here = asked_at(kind.one, request, asked) if kind.says else asked
            cost, written = cost_of(kind.one, kind.price, lengths, here)
            found.append((cost / NANO, place, {"input_tokens": asked.read, "output_tokens": written}))
        if len(found) > 1:
            found.sort(key=_by_cost)
        return found


def _by_cost(one: tuple[float, int, object]) -> float:
    return one[0]


def _table(deployments: Sequence[Deployment], _key: None) -> _Table:
    kinds: dict[object, _Kind] = {}
    unpriced = []
    for one in deployments:
        if one.price is None:
            unpriced.append(one)
            continue
        said = said_of_price(one.params)
        key = (one.provider, one.model, one.price, said, one.max_output)
        kind = kinds.get(key)
        if kind is None:
            kind = kinds[key] = _Kind(one, one.price, bool(said), [])
        kind.members.append(one)
    usual = sorted(kinds.values(), key=lambda kind: _nominal(kind, USUAL))
    rest = (*(one for kind in usual for one in kind.members), *unpriced)
    named = dict.fromkeys(
        min(usual, key=lambda kind: _nominal(kind, sort)).one for sort in (USUAL, *SORTS) if usual
    )
    return _Table(_some(list(kinds.values())), rest, tuple(unpriced[:FEW]), tuple(named))


def _some(kinds: list[_Kind]) -> list[_Kind]:
    """All of them, or of many those that may be the cheapest for some call."""
    if len(kinds) <= MOST_KINDS:
        return kinds
    found: dict[int, _Kind] = {}
    for sort in SORTS:
        for kind in sorted(kinds, key=lambda kind: _nominal(kind, sort))[:OF_EACH_SORT]:
            found[id(kind)] = kind
    return [kind for kind in kinds if id(kind) in found]


def _nominal(kind: _Kind, sort: tuple[int, int]) -> float:
    read, written = sort
    asked = Asked(read, None, 1, "", None, written)
    return cost_of(kind.one, kind.price, None, asked_at(kind.one, _ANY, asked))[0]


def _few(kinds: Iterable[_Kind], unpriced: Sequence[Deployment]) -> tuple[Deployment, ...]:
    found: list[Deployment] = []
    for kind in kinds:
        found += kind.members[: FEW - len(found)]
        if len(found) >= FEW:
            break
    return (*found, *unpriced[: FEW - len(found)])
