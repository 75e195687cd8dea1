"""What kind of failure an exception is, whose client it came from notwithstanding."""

from llmgate_plugins.classification.quotas import quota_from, quota_of
from llmgate_plugins.classification.verdict import classify
from llmgate_plugins.classification.waiting import retry_after, should_retry

__all__ = ["classify", "quota_from", "quota_of", "retry_after", "should_retry"]
