"""Where answers may come from that were made before this call: the same constraints hold for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgate_plugins._engine.dispatch import settle
from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins.errors import UnknownModel
from llmgate_plugins.types import Deployment

__all__ = ["may_have_made", "ruled_out"]


def may_have_made(flight: Flight, deployment_id: str) -> Steps:
    """Returns whether this call may be given an answer that this deployment made.

    Of one that is not configured any more nobody can tell: then only where nothing at all is ruled out.

    Raises:
        RequestDenied: A plugin denied the call.
        HookFailed: A plugin failed.
    """
    made = [one for one in _declared(flight, deployment_id) if one.id == deployment_id]
    out = yield from _ruled_out(flight, made or _declared(flight, flight.call.request.model))
    return deployment_id not in out if made else not out


def ruled_out(flight: Flight) -> Steps:
    """Returns the ids of all deployments of this call's alias, and of its fallbacks, that may not serve it.

    Raises:
        RequestDenied: A plugin denied the call.
        HookFailed: A plugin failed.
    """
    request, found = flight.call.request, set()
    for alias in flight.core.routes.chain(request.model, request.fallbacks):
        found |= yield from _ruled_out(flight, _declared(flight, alias))
    return frozenset(found)


def _ruled_out(flight: Flight, deployments: Sequence[Deployment]) -> Steps:
    """Returns the ids of those that some plugin drops, for good."""
    if not deployments:
        return frozenset()
    call, core = flight.call, flight.core
    hook, found = core.hooks.narrow_deployments, set[str]()
    hypothetical, call.hypothetical = call.hypothetical, True
    left = deployments
    try:
        said = hook.ask_all(call.request, left, call.context, call, core.services)
        while said is not None:
            place, answer, error = said
            drop = yield from settle(hook[place], answer, error)
            if drop is not None and drop.reasons and not drop.passing:
                left, dropped = core.narrowing.without(left, drop, hook[place].plugin)
                found |= dropped.keys()
            said = hook.ask_from(place + 1, (call.request, left, call.context, call, core.services))
    finally:
        call.hypothetical = hypothetical
    return found


def _declared(flight: Flight, name: str) -> Sequence[Deployment]:
    """The deployments of an alias, or the one with this id, whether they are well or not."""
    host: Any = flight.transport if flight.host_selects else None
    declared = flight.core.routes.deployments if host is None else host.declared
    try:
        found: Sequence[Deployment] = declared(name)
    except UnknownModel:
        return ()
    return found
