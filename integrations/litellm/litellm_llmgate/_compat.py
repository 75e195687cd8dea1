"""What differs between LiteLLM's releases, and the places in its router that have no public name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "PICK_NOW",
    "aliases",
    "entries",
    "healthy",
    "healthy_name",
    "install_name",
    "knows",
    "own_attributes",
    "pick_name",
    "routes_before_picking",
    "since_1_109",
    "strategy_name",
]

Entry = Mapping[str, Any]

PICK_NOW = "get_available_deployment"
"""The sync selection; the same name in all releases."""

_PRE_ROUTERS = ("auto", "complexity", "adaptive", "quality", "routing")


def since_1_109(router: Any) -> bool:
    """Whether `Router` is the facade over a core that 1.109 made of it."""
    return hasattr(router, "register_plugin")


def pick_name(router: Any) -> str:
    """The name of the async selection that a strategy replaces."""
    return "_core_async_get_available_deployment" if since_1_109(router) else "async_get_available_deployment"


def healthy_name(router: Any) -> str:
    """The name of what lists a group's healthy deployments, as the router itself calls it."""
    return "_core_async_get_healthy_deployments" if since_1_109(router) else "async_get_healthy_deployments"


def install_name(router: Any) -> str:
    """The name of what installs a strategy, as all ways to do so end up calling it."""
    return "_core_set_custom_routing_strategy" if since_1_109(router) else "set_custom_routing_strategy"


def own_attributes(router: Any) -> Mapping[str, Any]:
    """What stands on this very router, not on its class."""
    found: Mapping[str, Any] = vars(router._core if since_1_109(router) else router)
    return found


async def healthy(router: Any, model: str, request_kwargs: dict[str, Any], **asked: Any) -> Any:
    """LiteLLM's own candidates: a list of entries, or one entry if a deployment's id was asked for."""
    if since_1_109(router):
        return await router.select(model, request_kwargs, kind="healthy", **asked)
    return await router.async_get_healthy_deployments(model=model, request_kwargs=request_kwargs, **asked)


def knows(router: Any, model: str) -> bool:
    """Whether this is one of the router's groups, by whatever name."""
    if since_1_109(router):
        return bool(router.registry().deployments(model))
    return bool(router.get_model_list(model_name=model))


def entries(router: Any) -> Sequence[Entry]:
    """The router's deployments as it holds them now."""
    found: Sequence[Entry] = router.registry().all() if since_1_109(router) else router.model_list
    return found


def aliases(router: Any) -> Mapping[str, Any]:
    """Another name of a group -> its name, or an entry with that under "model"."""
    found = router.registry().aliases() if since_1_109(router) else router.model_group_alias
    return found or {}


def strategy_name(router: Any) -> str:
    """The configured strategy's name."""
    found = router.settings().routing_strategy if since_1_109(router) else router.routing_strategy
    return str(getattr(found, "value", found))


def routes_before_picking(router: Any) -> bool:
    """Whether auto-routers or routing plugins have a say before candidates are listed.

    They run inside LiteLLM's own selection only, so such a router's candidates are what
    that selection saw.
    """
    if since_1_109(router):
        plugins = router.registry().plugins
        return any(plugins(kind) for kind in _PRE_ROUTERS)
    names = (f"{kind}_{'plugins' if kind == 'routing' else 'routers'}" for kind in _PRE_ROUTERS)
    return any(getattr(router, name, None) for name in names)
