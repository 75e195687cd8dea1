"""Where answers may come from that were made before this call: the same constraints hold for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgate_plugins._engine.flight import Flight, Steps
from llmgate_plugins._engine.narrowing import Deployments
from llmgate_plugins._engine.selection import narrowed
from llmgate_plugins.decisions import Drop
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
    found = set[str]()

    def take_out(left: Deployments, drop: Drop, plugin: str) -> Deployments:
        if not drop.passing:
            left, dropped = core.narrowing.without(left, drop, plugin)
            found.update(dropped)
        return left

    hypothetical, call.hypothetical = call.hypothetical, True
    try:
        ask_all = core.hooks.narrow_deployments.ask_all
        said = ask_all(call.request, deployments, call.context, call, core.services)
        yield from narrowed(flight, deployments, said, take_out)
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
