"""Hard constraints: where a call may be served, and what a deployment must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmgate_plugins.context import Context
from llmgate_plugins.decisions import Drop
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.types import Deployment, Request

__all__ = ["Capabilities", "ContextConstraints"]


class ContextConstraints:
    """Enforces the region of the context on every selection, fallbacks included.

    Fails closed: a deployment that declares no region does not serve a call that is bound
    to one. Reason code: "region".
    """

    @hookimpl
    def narrow_deployments(self, deployments: Sequence[Deployment], context: Context) -> Drop | None:
        """Drops what is not in the region asked for."""
        region = context.region
        if region is None:
            return None
        outside = {one.id: "region" for one in deployments if one.region != region}
        return Drop(outside) if outside else None


class Capabilities:
    """Drops deployments known not to do what the request plainly needs.

    Looks at `tools` and at a `response_format` with a JSON schema. A deployment of which
    no capabilities are known stays. Reason codes: "no_tools", "no_json_schema".
    """

    @hookimpl
    def narrow_deployments(self, request: Request, deployments: Sequence[Deployment]) -> Drop | None:
        """Drops what lacks a capability that the request needs."""
        needed = _needed(request.params)
        if not needed:
            return None
        lacking = {}
        for one in deployments:
            able = one.capabilities
            if able:
                for capability in needed:
                    if capability not in able:
                        lacking[one.id] = f"no_{capability}"
                        break
        return Drop(lacking) if lacking else None


def _needed(params: Mapping[str, Any]) -> tuple[str, ...]:
    if not params:
        return ()
    needed = ("tools",) if params.get("tools") else ()
    wanted = params.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        return (*needed, "json_schema")
    return needed
