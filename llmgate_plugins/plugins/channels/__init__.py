"""Where alerts go: to the log, to a webhook, to Slack, by e-mail. Ordinary plugins."""

from __future__ import annotations

from llmgate_plugins.plugins.channels.log import LogChannel

__all__ = ["LogChannel"]
