"""LiteLLM's own cache under policies: an answer goes nowhere where it could not have been made."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import litellm

from llmgate_plugins.context import Call
from llmgate_plugins.policies import asked_by
from llmgate_plugins.types import Attempt, Deployment

__all__ = ["keep_apart"]

_TRANSIENT: Final = "Health"
"""Whose drops say nothing of where an answer may come from."""


def keep_apart(kwargs: dict[str, Any], attempt: Attempt, call: Call) -> None:
    """A call that some deployments may not serve shares kept answers of its own deployment alone.

    LiteLLM keeps answers by the model's group, whichever deployment made them, and looks one up
    when an attempt is sent. Then it is settled where to, so what was made there is eligible.
    """
    if litellm.cache is None or not _is_bound(call):
        return
    control = dict(kwargs.get("cache") or {})
    own = control.get("namespace") or litellm.cache.namespace
    place = f"llmgate:{_place(attempt.deployment)}"
    kwargs["cache"] = {**control, "namespace": f"{own}:{place}" if own else place}


def _is_bound(call: Call) -> bool:
    """Whether answers of a deployment of the group may not be for it."""
    context, selections = call.context, call.record.selections
    if context.region is not None or context.data_class is not None or asked_by(call.policies):
        return True
    return bool(selections) and any(who != _TRANSIENT for _, who in selections[-1].dropped.values())


def _place(deployment: Deployment) -> str:
    """The deployment with what it declares: under the same id another one may stand tomorrow."""
    facts = (
        *(deployment.id, deployment.provider, deployment.model, deployment.region),
        *(sorted(deployment.terms), sorted(deployment.data_classes or ())),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
