"""What ships in the box: ordinary plugins, which see only what anyone's plugin sees."""

from __future__ import annotations

from llmgate_plugins.plugins.accounting import LedgerAccounting
from llmgate_plugins.plugins.budgets import Budget
from llmgate_plugins.plugins.failover import Failover
from llmgate_plugins.plugins.in_order import InOrder
from llmgate_plugins.plugins.narrowing import Capabilities, ContextConstraints
from llmgate_plugins.plugins.patience import Patience
from llmgate_plugins.plugins.policies import Policies, Policy
from llmgate_plugins.plugins.preferences import Cheapest, Fastest
from llmgate_plugins.plugins.tracing import Tracing
from llmgate_plugins.plugins.weighted import Weighted

__all__ = [
    "BUILTINS",
    "Budget",
    "Capabilities",
    "Cheapest",
    "ContextConstraints",
    "Failover",
    "Fastest",
    "InOrder",
    "LedgerAccounting",
    "Patience",
    "Policies",
    "Policy",
    "Tracing",
    "Weighted",
    "default_plugins",
]

BUILTINS: tuple[type, ...] = (ContextConstraints, Patience, Failover, LedgerAccounting)
"""What every gateway has unless it says otherwise, in run order."""


def default_plugins() -> tuple[object, ...]:
    """One new instance of each of `BUILTINS`, in run order."""
    return tuple(kind() for kind in BUILTINS)
