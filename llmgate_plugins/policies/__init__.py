"""Policies as data: what a deployment must be to serve a call, and which one is preferred."""

from __future__ import annotations

from llmgate_plugins.policies.policy import Policy, Target
from llmgate_plugins.policies.reasons import REASONS

__all__ = ["REASONS", "Policy", "Target"]
