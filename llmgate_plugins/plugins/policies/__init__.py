"""The plugin that applies policies: what they ask for, and what they prefer."""

from __future__ import annotations

from llmgate_plugins.plugins.policies.plugin import POLICY, Policies
from llmgate_plugins.policies import Policy, Rule, Target

__all__ = ["POLICY", "Policies", "Policy", "Rule", "Target"]
