"""From the sections `budgets` and `limits` to the plugin that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import ceil
from typing import Any

from llmgate_plugins.config import BudgetConfig, Degrade, GatewayConfig, LimitConfig, UnderAlias, UnderPolicy
from llmgate_plugins.config.amounts import SpendingLimit, litellm_window
from llmgate_plugins.errors import ConfigurationError, Problem
from llmgate_plugins.plugins.limits import (
    Budget,
    ConcurrencyLimit,
    Exhausted,
    Instead,
    Limit,
    Limits,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.types import NANO, Deployment

__all__ = ["configured_limits"]

_KINDS = {"limit": Budget, "money": Budget, "requests": RequestLimit, "tokens": TokenLimit}


def configured_limits(config: GatewayConfig, deployments: Iterable[Deployment] = ()) -> Limits:
    """The limits of the file, in its order, and then those in LiteLLM's own words.

    Args:
        deployments: Their `max_budget` counts as well.

    Raises:
        ConfigurationError: One makes no sense, or two are for the same; with each line.
    """
    made: list[Limit] = []
    problems: list[Problem] = []
    for path, entry in _entries(config):
        for limit in _limits(entry, path, config, problems):
            try:
                Limits([*made, limit])
            except ValueError as error:
                message, _, remedy = str(error).partition("; ")
                problems.append(config.locator.problem(path, message, remedy))
            else:
                made.append(limit)
    made.extend(_of_litellm(config, deployments, problems))
    if problems:
        raise ConfigurationError(problems=problems)
    return Limits(made)


def _of_litellm(
    config: GatewayConfig, deployments: Iterable[Deployment], problems: list[Problem]
) -> Iterator[Limit]:
    """`provider_budget_config` of the router, `max_budget` of deployments."""
    written: list[tuple[str, float, str, tuple[str, ...]]] = [
        (
            f"provider={name}",
            one.max_budget,
            one.budget_duration,
            ("router_settings", "provider_budget_config", name),
        )
        for name, one in config.router_settings.provider_budget_config.items()
    ]
    written += [
        (f"deployment={one.id}", one.info["max_budget"], one.info["budget_duration"], ("model_list",))
        for one in deployments
        if one.info.get("max_budget") and one.info.get("budget_duration")
    ]
    for scope, dollars, duration, path in written:
        try:
            yield Budget(scope, ceil(Decimal(str(dollars)) * NANO), litellm_window(str(duration)))
        except ValueError as error:
            message, _, remedy = str(error).partition("; ")
            problems.append(config.locator.problem(path, message, remedy))


def _entries(config: GatewayConfig) -> Iterator[tuple[tuple[str | int, ...], BudgetConfig | LimitConfig]]:
    for section in ("budgets", "limits"):
        for index, entry in enumerate(getattr(config, section)):
            yield (section, index), entry


def _limits(
    entry: BudgetConfig | LimitConfig,
    path: tuple[str | int, ...],
    config: GatewayConfig,
    problems: list[Problem],
) -> Iterator[Limit]:
    """What one entry stands for: a limit for each amount in it."""
    common: dict[str, Any] = {
        "scope": entry.scope,
        "hard": entry.hard,
        "on_exhausted": _exhausted(entry),
        "shadow": entry.shadow,
        "shadow_calls": entry.shadow_calls,
        "alert_at": entry.alert_at,
        "assume_output": entry.assume_output,
    }
    try:
        for name, amount in entry.amounts():
            most = amount.nano_usd if isinstance(amount, SpendingLimit) else amount.number
            yield _KINDS[name](limit=most, window=entry.window(amount), **common)
        if isinstance(entry, LimitConfig) and entry.concurrency is not None:
            yield ConcurrencyLimit(limit=entry.concurrency, **common)
    except ValueError as error:
        problems.append(config.locator.problem(path, str(error)))


def _exhausted(entry: BudgetConfig | LimitConfig) -> Exhausted:
    match entry.on_exhausted:
        case Degrade(prefer=prefer):
            return prefer
        case UnderPolicy(policy=policy):
            return Instead(policy=policy)
        case UnderAlias(alias=alias):
            return Instead(alias=alias)
        case _:
            return "deny"
