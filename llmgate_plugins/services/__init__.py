"""Everything that touches the world, as interfaces: clock, sleep, randomness, state, ledger."""

from __future__ import annotations

from llmgate_plugins.services.chance import Random, default_random
from llmgate_plugins.services.clock import Clock, Sleeper, SystemClock, SystemSleeper
from llmgate_plugins.services.feedback import Feedback
from llmgate_plugins.services.ledger import (
    AttemptIntent,
    Ledger,
    OpenIntent,
    Settlement,
    ShadowCalls,
    Standing,
)
from llmgate_plugins.services.pending import MaybePending, is_pending
from llmgate_plugins.services.services import Score, Services
from llmgate_plugins.services.state import Grant, Lease, Level, Refusal, Reservation, Seed, State, Unseeded

__all__ = [
    "AttemptIntent",
    "Clock",
    "Feedback",
    "Grant",
    "Lease",
    "Ledger",
    "Level",
    "MaybePending",
    "OpenIntent",
    "Random",
    "Refusal",
    "Reservation",
    "Score",
    "Seed",
    "Services",
    "Settlement",
    "ShadowCalls",
    "Sleeper",
    "Standing",
    "State",
    "SystemClock",
    "SystemSleeper",
    "Unseeded",
    "default_random",
    "is_pending",
]
