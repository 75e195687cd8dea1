"""Policies as data: what a deployment must be to serve a call, which one is preferred, and for whom."""

from __future__ import annotations

from llmgate_plugins.policies.constraints import asked_by
from llmgate_plugins.policies.nesting import settled
from llmgate_plugins.policies.policy import Policy, Target
from llmgate_plugins.policies.reasons import DENIALS, REASONS
from llmgate_plugins.policies.rules import Rule, Rules, matcher
from llmgate_plugins.policies.sticky import Sticky

__all__ = [
    "DENIALS",
    "REASONS",
    "Policy",
    "Rule",
    "Rules",
    "Sticky",
    "Target",
    "asked_by",
    "matcher",
    "settled",
]
