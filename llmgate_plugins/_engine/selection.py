"""Which deployments of an alias may serve, and in which order: narrow, then rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Final

from llmgate_plugins._asking import Said
from llmgate_plugins._building import builder
from llmgate_plugins._engine.dispatch import settle
from llmgate_plugins._engine.effects import Candidates
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.narrowing import Deployments, Ranked, check
from llmgate_plugins.decisions import Drop, Ranking
from llmgate_plugins.errors import HookFailed
from llmgate_plugins.selections import MOST_NAMED, Dropped, Selection

__all__ = ["narrowed", "select"]

_selection: Final = builder(Selection)


def select(flight: Flight, alias: str) -> Steps:
    """Returns (deployments in the order to try, whether a plugin ranked them)."""
    call, core = flight.call, flight.core
    request = call.request
    if flight.host_selects:
        left: Deployments = tuple((yield Candidates(alias, request)))
        ids = tuple([deployment.id for deployment in left])
    else:
        left = core.routes.deployments(alias)
        ids = core.narrowing.ids(left)
    selection = _selection(alias=alias, considered=ids, order=ids)
    call.record.selections.append(selection)
    said = core.hooks.narrow_deployments.ask_all(request, left, call.context, call, core.services)
    if said is not None:
        left = yield from narrowed(flight, left, said, partial(_take_out, flight, selection))
    rank = core.hooks.rank_deployments.ask_all
    said = rank(request, left, call.context, call, core.services) if left else None
    ranked = None if said is None else (yield from _rank(flight, left, said, selection))
    if ranked is not None:
        left = ranked
        first = left.first if type(left) is Ranked else left
        selection.order = tuple([deployment.id for deployment in islice(first, MOST_NAMED)])
    elif selection.dropped:
        selection.order = core.narrowing.ids(left)
    selection.policy, selection.policy_version = call.record.policy, call.record.policy_version
    if call.policies:
        selection.policies = tuple([policy.name or "" for policy in call.policies])
    return left, ranked is not None


def narrowed(
    flight: Flight,
    left: Deployments,
    said: Said | None,
    take_out: Callable[[Deployments, Drop, str], Deployments],
) -> Steps:
    """Returns what is left of these when all plugins have had their say.

    Args:
        said: What the first of them to say something has said.
        take_out: What is left after a drop of this plugin.
    """
    call, core = flight.call, flight.core
    hook = core.hooks.narrow_deployments
    while said is not None:
        place, answer, error = said
        drop = yield from settle(hook[place], answer, error)
        if drop is not None and drop.reasons:
            left = take_out(left, drop, hook[place].plugin)
        said = hook.ask_from(place + 1, (call.request, left, call.context, call, core.services))
    return left


def _rank(flight: Flight, left: Deployments, said: Said | None, selection: Selection) -> Steps:
    """Returns these in order of the first opinion, or None. A plugin that fails has none."""
    call, core = flight.call, flight.core
    hook, given = core.hooks.rank_deployments, (call.request, left, call.context, call, core.services)
    while said is not None:
        place, answer, error = said
        one = hook[place]
        try:
            answer = yield from settle(one, answer, error)
            if answer is not None:
                ordered = _ordered(flight, left, answer, selection)
                selection.ranked_by = one.plugin
                return ordered
        except Exception as failure:  # noqa: BLE001 - it could only reorder: the next opinion counts
            cause = failure.__cause__ if isinstance(failure, HookFailed) else None
            flight.report(one.plugin, one.hook, cause or failure)
        said = hook.ask_from(place + 1, given)
    return None


def _take_out(
    flight: Flight, selection: Selection, left: Deployments, drop: Drop, plugin: str
) -> Deployments:
    left, dropped = flight.core.narrowing.without(left, drop, plugin)
    before = selection.dropped
    selection.dropped = (
        flight.core.narrowing.joined(before, dropped) if isinstance(before, Dropped) and before else dropped
    )
    if drop.until:
        selection.until = {**selection.until, **drop.until} if selection.until else drop.until
    return left


def _ordered(
    flight: Flight, left: Deployments, answer: Ranking | Deployments, selection: Selection
) -> Deployments:
    """The ranking's order; what it leaves out follows as it stood. It can only reorder.

    Raises:
        ValueError: It names one that is not among the candidates.
        TypeError: Its scores are none; they would stand in the record.
    """
    ranking = answer if isinstance(answer, Ranking) else Ranking(answer)
    scores: object = ranking.scores
    if type(scores) is not dict and not isinstance(scores, Mapping):
        raise TypeError(f"Ranking takes scores={{one.id: score}}, not {type(scores).__name__}")
    narrowing = flight.core.narrowing
    group = left if ranking.rest is None else narrowing.completed(left, ranking.rest)
    if len(ranking.order) > MOST_NAMED or ranking.order is left:
        ordered = narrowing.completed(group, ranking.order)
    else:
        places = dict.fromkeys(ranking.order)
        if len(left) <= MOST_NAMED or flight.host_selects:
            check(places, frozenset(left))
        else:
            whole = flight.core.routes.deployments(selection.alias)
            check(places, narrowing.members(whole), selection.dropped)
        if len(places) < len(left) <= MOST_NAMED:
            places.update(dict.fromkeys(group))
        first = tuple(places)
        ordered = first if len(first) == len(left) else Ranked(first, group)
    selection.scores = ranking.scores
    selection.reason = ranking.reason
    selection.parts = ranking.parts
    selection.state = ranking.state
    return ordered
