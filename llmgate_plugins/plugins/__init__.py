"""What ships in the box: ordinary plugins, which see only what anyone's plugin sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from llmgate_plugins.errors import PluginRefused
from llmgate_plugins.experiments import Arm, Experiment, Prompt, Rollback, Stage
from llmgate_plugins.plugins import channels
from llmgate_plugins.plugins.accounting import LedgerAccounting
from llmgate_plugins.plugins.channels import LogChannel
from llmgate_plugins.plugins.contents import Contents
from llmgate_plugins.plugins.context_fit import ContextFit
from llmgate_plugins.plugins.experiments import Experiments
from llmgate_plugins.plugins.failover import Failover
from llmgate_plugins.plugins.health import Health
from llmgate_plugins.plugins.idempotency import Idempotency
from llmgate_plugins.plugins.limits import (
    Budget,
    ConcurrencyLimit,
    Instead,
    Limit,
    Limits,
    LimitStanding,
    RequestLimit,
    TokenLimit,
)
from llmgate_plugins.plugins.narrowing import Capabilities, ContextConstraints
from llmgate_plugins.plugins.observations import Observations
from llmgate_plugins.plugins.patience import Patience
from llmgate_plugins.plugins.policies import Policies, Policy, Rule, Target
from llmgate_plugins.plugins.preferences import (
    Cheapest,
    Fastest,
    InOrder,
    MostReliable,
    Weighing,
    Weighted,
)
from llmgate_plugins.plugins.ratings import Ratings
from llmgate_plugins.plugins.smoothing import RateLimit, RateLimits
from llmgate_plugins.plugins.telemetry import Telemetry
from llmgate_plugins.plugins.watching import ExpiryAlerts, FailureAlarms, Goal, SloAlerts, SpendAnomalies

if TYPE_CHECKING:
    from llmgate_plugins.plugins.channels import EmailChannel, SlackChannel, WebhookChannel

__all__ = [
    "BUILTINS",
    "Arm",
    "Budget",
    "Capabilities",
    "Cheapest",
    "ConcurrencyLimit",
    "Contents",
    "ContextConstraints",
    "ContextFit",
    "EmailChannel",
    "Experiment",
    "Experiments",
    "ExpiryAlerts",
    "Failover",
    "FailureAlarms",
    "Fastest",
    "Goal",
    "Health",
    "Idempotency",
    "InOrder",
    "Instead",
    "LedgerAccounting",
    "Limit",
    "LimitStanding",
    "Limits",
    "LogChannel",
    "MostReliable",
    "Observations",
    "Patience",
    "Policies",
    "Policy",
    "Prompt",
    "RateLimit",
    "RateLimits",
    "Ratings",
    "RequestLimit",
    "Rollback",
    "Rule",
    "SlackChannel",
    "SloAlerts",
    "SpendAnomalies",
    "Stage",
    "Target",
    "Telemetry",
    "TokenLimit",
    "WebhookChannel",
    "Weighing",
    "Weighted",
    "default_plugins",
    "with_places",
]

BUILTINS: tuple[type, ...] = (
    Telemetry,
    Idempotency,
    ContextConstraints,
    Capabilities,
    ContextFit,
    RateLimits,
    Health,
    Patience,
    Failover,
    Observations,
    Limits,
    LedgerAccounting,
    Ratings,
    FailureAlarms,
    LogChannel,
)
"""What every gateway has unless it says otherwise, in run order.

What must be so comes first. Who has to wait waits before anybody looks at health: a deployment
may have fallen ill by the end of the wait. The intent is written last, so that what others
refuse leaves no trace of an attempt, right after what limits hold for it. Without any limit
there are no `Limits`.
"""


def __getattr__(name: str) -> Any:
    """Channels that bring in clients for HTTP and SMTP, loaded when first asked for."""
    if name in channels.__all__:
        return getattr(channels, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def default_plugins() -> tuple[object, ...]:
    """One new instance of each of `BUILTINS`, in run order."""
    return tuple(kind() for kind in BUILTINS)


def listed(plugins: object) -> tuple[object, ...]:
    """What an application gives as its plugins.

    Raises:
        PluginRefused: It is one, and no list of them.
    """
    if isinstance(plugins, str) or not isinstance(plugins, Iterable):
        name = plugins if isinstance(plugins, str) else type(plugins).__name__
        raise PluginRefused("stands alone", plugin=name, remedy="plugins are a list: plugins=[...]")
    return tuple(plugins)


def with_places(plugins: Iterable[object], defaults: Iterable[object]) -> tuple[list[object], list[object]]:
    """(the application's own plugins, the built-in ones), each in run order.

    A built-in plugin that the application set up differently takes the place of the default
    one: much depends on the order among them.

    Args:
        plugins: The application's, in its order.
        defaults: The built-in ones as they would be.

    Raises:
        PluginRefused: A limit stands among the plugins.
    """
    plugins, defaults = listed(plugins), tuple(defaults)
    for plugin in plugins:
        if isinstance(plugin, Limit):
            raise PluginRefused(
                "is a limit, not a plugin",
                plugin=type(plugin).__name__,
                remedy="write Limits([...]) around it",
            )
    kinds = {type(plugin) for plugin in defaults}
    given = {type(plugin): plugin for plugin in plugins if type(plugin) in kinds}
    own = [plugin for plugin in plugins if type(plugin) not in kinds or given[type(plugin)] is not plugin]
    placed = [given.get(type(plugin), plugin) for plugin in defaults]
    return own, [plugin for plugin in placed if not (isinstance(plugin, Limits) and not plugin.limits)]
