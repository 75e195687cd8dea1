"""What makes one gate's answers differ from another's, as a short text that is the same in every process."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_llmgate._fleet import Fleet
from llmgate_plugins.secrets import Secret
from llmgate_plugins.types import Deployment

if TYPE_CHECKING:
    from llmgate_plugins.gateway import Gateway

__all__ = ["fingerprint"]

DEEPEST: Final = 6


def fingerprint(gateway: Gateway, fleet: Fleet) -> str:
    """Sixteen hex digits over deployments, inner models, fallbacks and plugins with their settings.

    A plugin's settings are its public attributes; what begins with an underscore is taken
    for its working state.
    """
    told = {
        "deployments": [_deployment(one, fleet) for one in gateway.deployments.values()],
        "routes": {name: list(gateway.routes.chain(name)) for name in gateway.routes.aliases},
        "plugins": [[name, _plain(plugin, DEEPEST)] for name, plugin in gateway.plugins],
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _deployment(deployment: Deployment, fleet: Fleet) -> dict[str, Any]:
    model = fleet.given(deployment.id)
    return {
        "id": deployment.id,
        "alias": deployment.alias,
        "provider": deployment.provider,
        "model": deployment.model,
        "region": deployment.region,
        "terms": sorted(deployment.terms),
        "data_classes": sorted(deployment.data_classes or ()),
        "address": deployment.endpoint.base_url,
        "params": _plain(deployment.params, DEEPEST),
        "inner": None if model is None else _plain(model._identifying_params, DEEPEST),
    }


def _plain(value: Any, depth: int) -> Any:
    """As JSON, in a fixed order, without secrets and addresses in memory."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Secret):
        return value.id
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    if depth == 0:
        return _kind(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, depth - 1) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_plain(inner, depth - 1), sort_keys=True) for inner in value)
    if is_dataclass(value):
        told = {one.name: getattr(value, one.name) for one in fields(value) if not one.name.startswith("_")}
    elif isinstance(value, re.Pattern):
        told = {"pattern": value.pattern, "flags": int(value.flags)}
    else:
        told = {name: inner for name, inner in getattr(value, "__dict__", {}).items() if name[:1] != "_"}
    return {"": _kind(value), **{name: _plain(inner, depth - 1) for name, inner in told.items()}}


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
