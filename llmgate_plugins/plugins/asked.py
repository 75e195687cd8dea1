"""The request as it came in, where an experiment has changed it since."""

from __future__ import annotations

from typing import Final

from llmgate_plugins.context import StashKey
from llmgate_plugins.types import Request

__all__ = ["ASKED"]

ASKED: Final[StashKey[Request]] = StashKey("asked")
"""What makes two calls the same is what was asked: an experiment may treat the second one differently."""
