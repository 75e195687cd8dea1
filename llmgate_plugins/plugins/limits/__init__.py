"""Limits and budgets: requests, tokens, calls at once and money, held before sending and settled after."""

from llmgate_plugins.plugins.limits.limit import (
    Budget,
    ConcurrencyLimit,
    Exhausted,
    Instead,
    Limit,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.plugins.limits.plugin import Limits
from llmgate_plugins.plugins.limits.standing import LimitStanding
from llmgate_plugins.scopes import BudgetScope

__all__ = [
    "Budget",
    "BudgetScope",
    "ConcurrencyLimit",
    "Exhausted",
    "Instead",
    "Limit",
    "LimitStanding",
    "Limits",
    "RequestLimit",
    "TokenLimit",
]
