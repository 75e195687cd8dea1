"""Copies of calls, and second opinions on them: what would have been, without anybody waiting for it."""

from __future__ import annotations

from llmgate_plugins.plugins.shadow.copies import Shadow, ShadowTraffic
from llmgate_plugins.plugins.shadow.opinions import ShadowPolicies, ShadowPolicy

__all__ = ["Shadow", "ShadowPolicies", "ShadowPolicy", "ShadowTraffic"]
