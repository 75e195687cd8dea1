"""What kind of failure an exception is, whose client it came from notwithstanding."""

from llmgate_plugins.classification.quotas import quota_from, quota_of
from llmgate_plugins.classification.reactions import REACTIONS, Reaction, reaction_to
from llmgate_plugins.classification.verdict import classify
from llmgate_plugins.classification.waiting import retry_after, should_retry

__all__ = [
    "REACTIONS",
    "Reaction",
    "classify",
    "quota_from",
    "quota_of",
    "reaction_to",
    "retry_after",
    "should_retry",
]
