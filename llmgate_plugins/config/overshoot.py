"""By how much a hard limit may be passed, where nothing bounds the length of an answer or its price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmgate_plugins.config.limit_checks import Written, written_limits
from llmgate_plugins.errors import Problem
from llmgate_plugins.types import NANO, Deployment
from llmgate_plugins.usage import allowed_output

if TYPE_CHECKING:
    from llmgate_plugins.config.gateway_config import GatewayConfig

__all__ = ["overshoots", "unpriced"]

_NAMED = 3
"""So many models are named of those that have no price."""


def overshoots(config: GatewayConfig, deployments: Sequence[Deployment]) -> Iterator[Problem]:
    """A warning for each hard budget or limit of tokens that may be passed, with its bound.

    Calls that set `max_tokens` pass nothing, nor do deployments that fix it.
    """
    told: set[tuple[str | int, ...]] = set()
    for one in written_limits(config):
        if one.mode != "hard" or one.kind not in ("budget", "tokens") or one.path in told:
            continue
        worst = max(_beyond(one, deployments), default=None)
        if worst is None:
            continue
        told.add(one.path)
        amount, model, most = worst
        much = f"{amount / NANO:.4f} USD" if one.kind == "budget" else f"{amount:,} tokens"
        yield config.locator.problem(
            one.path,
            f"may be passed by {much} for each call under way that sets no max_tokens: {model} writes up to "
            f"{most:,} tokens, {one.entry.assume_output:,} are held for",
            f"set max_tokens in calls or litellm_params, or assume_output: {most}",
            severity="warning",
        )


def _beyond(one: Written, deployments: Sequence[Deployment]) -> Iterator[tuple[int, str, int]]:
    """(by how much, which model, how long it may write) of each deployment that writes more than is held."""
    for deployment in deployments:
        most, params = deployment.max_output, deployment.params
        if most is None or allowed_output(params):
            continue
        further = most - one.entry.assume_output
        price = deployment.price
        if further > 0 and one.kind == "tokens":
            yield further, deployment.model, most
        elif further > 0 and price is not None:
            yield -(-further * max(price.output, price.reasoning) // 1_000_000), deployment.model, most


def unpriced(config: GatewayConfig, deployments: Sequence[Deployment]) -> Iterator[Problem]:
    """A warning for the first budget where some deployments have no price, so that none counts them."""
    budget = next((one for one in written_limits(config) if one.kind == "budget"), None)
    models = dict.fromkeys(f"{one.provider}/{one.model}" for one in deployments if one.price is None)
    if budget is None or not models:
        return
    named = ", ".join(list(models)[:_NAMED])
    others = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
    yield config.locator.problem(
        budget.path,
        f"counts nothing for {named}{others}: nobody knows what it costs",
        "name its price under prices, 0 if it is free; tables: pip install 'llmgate-plugins[prices]'",
        severity="warning",
    )
