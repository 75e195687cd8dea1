"""A request as the next provider takes it: what it would refuse is translated or left out."""

from __future__ import annotations

from collections.abc import Sequence

from llmgate_plugins.types import Deployment, Request

__all__ = ["fit_request"]


def fit_request(request: Request, deployment: Deployment) -> tuple[Request, Sequence[str]]:
    """(the request for this deployment, what was changed for it as short sentences)."""
    return request, ()
