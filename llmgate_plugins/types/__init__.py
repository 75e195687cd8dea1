"""The nouns of a call: what is asked, where it goes, what came back, how it ended.

All are frozen values. Times are seconds on the gateway's monotonic clock, money is
integer nano-dollars (1 USD = 1_000_000_000), tokens are counts in disjoint buckets.
"""

from __future__ import annotations

from llmgate_plugins.money import (
    BUCKETS,
    INPUT_BUCKETS,
    NANO,
    NO_USAGE,
    OUTPUT_BUCKETS,
    Iteration,
    Price,
    PriceTier,
    Quote,
    Usage,
)
from llmgate_plugins.types.answer import Chunk, Response
from llmgate_plugins.types.attempt import Attempt, AttemptReason, Outcome, OutcomeStatus
from llmgate_plugins.types.deployment import Deployment, Endpoint
from llmgate_plugins.types.empty import EMPTY
from llmgate_plugins.types.failure import ErrorClass, Failure, Scope
from llmgate_plugins.types.messages import LazyMessages, Message, ToolCall
from llmgate_plugins.types.request import OnBreak, Request

__all__ = [
    "BUCKETS",
    "EMPTY",
    "INPUT_BUCKETS",
    "NANO",
    "NO_USAGE",
    "OUTPUT_BUCKETS",
    "Attempt",
    "AttemptReason",
    "Chunk",
    "Deployment",
    "Endpoint",
    "ErrorClass",
    "Failure",
    "Iteration",
    "LazyMessages",
    "Message",
    "OnBreak",
    "Outcome",
    "OutcomeStatus",
    "Price",
    "PriceTier",
    "Quote",
    "Request",
    "Response",
    "Scope",
    "ToolCall",
    "Usage",
]
