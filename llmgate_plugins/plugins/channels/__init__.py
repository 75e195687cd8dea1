"""Where alerts go: to the log, to a webhook, to Slack, by e-mail. Ordinary plugins."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from llmgate_plugins.plugins.channels.log import LogChannel
from llmgate_plugins.plugins.channels.persistence import Persistence
from llmgate_plugins.plugins.channels.signing import verify_signature
from llmgate_plugins.plugins.channels.wanted import Wanted

if TYPE_CHECKING:
    from llmgate_plugins.plugins.channels.mail import EmailChannel
    from llmgate_plugins.plugins.channels.slack import SlackChannel
    from llmgate_plugins.plugins.channels.webhook import WebhookChannel

__all__ = [
    "EmailChannel",
    "LogChannel",
    "Persistence",
    "SlackChannel",
    "Wanted",
    "WebhookChannel",
    "verify_signature",
]

_MODULES: Final = {"EmailChannel": "mail", "SlackChannel": "slack", "WebhookChannel": "webhook"}
"""What brings in clients for HTTP and SMTP is loaded when it is first asked for."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
