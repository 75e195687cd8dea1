"""Alerts in a Slack channel, or in whatever takes the same incoming webhooks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.channels.persistence import Persistence
from llmgate_plugins.plugins.channels.posting import Post
from llmgate_plugins.plugins.channels.wanted import Wanted
from llmgate_plugins.plugins.channels.wording import headline, lines
from llmgate_plugins.secrets import Secret
from llmgate_plugins.services import Services

__all__ = ["SlackChannel"]

SIGNS: Final[Mapping[Severity, str]] = {
    "info": ":information_source:",
    "warning": ":warning:",
    "critical": ":rotating_light:",
}
# https://docs.slack.dev/reference/block-kit/blocks/section-block
LONGEST_TEXT: Final = 3_000
LONGEST_FIELD: Final = 2_000
MOST_FIELDS: Final = 10
APART: Final = "\u200b"


class SlackChannel:
    """Posts alerts to an incoming webhook of Slack, Mattermost and others that take the same.

    Each has blocks for Slack, and a plain text for notifications and for programs that know
    no blocks. Tries again as `WebhookChannel` does; Slack's `Retry-After` is kept.

    Args:
        url: The webhook's address, a secret as a whole: best a reference (`env:SLACK_URL`).
        min_severity: The least severe that is sent: "info", "warning" or "critical".
        kinds: Kinds that are sent; empty for all.
        mention: Written before what is critical, as Slack has it: "<!channel>", "<@U0123>".
        timeout: Seconds for one try.
        attempts: Tries in all.
        insecure: Also `http` to other machines.
        ca_file: Certificates to trust instead of the system's, as PEM.
        name: Of this plugin, where there are several.
        persistence: In place of `attempts`, with other waits.

    Raises:
        ValueError: An argument is none of those allowed.
    """

    def __init__(
        self,
        url: str | Secret,
        *,
        min_severity: Severity = "info",
        kinds: Sequence[str] = (),
        mention: str = "",
        timeout: float = 10.0,
        attempts: int = 6,
        insecure: bool = False,
        ca_file: str | None = None,
        name: str = "SlackChannel",
        persistence: Persistence | None = None,
    ) -> None:
        self.name = name
        self.wanted = Wanted(min_severity, kinds)
        self.mention = mention
        self._post = Post(url, timeout=timeout, insecure=insecure, ca_file=ca_file)
        self._persistence = persistence or Persistence(attempts)

    @property
    def destination(self) -> str:
        """Tells it apart from others of its name, in processes that share a state or books."""
        return self._post.destination

    @hookimpl
    def deliver_alert(self, alert: Alert, services: Services) -> None:
        """Post it, until it has arrived."""
        if alert not in self.wanted:
            return
        body = json.dumps(message(alert, self.mention), separators=(",", ":")).encode()
        self._persistence.deliver(
            lambda: self._post.send(body, {"content-type": "application/json"}), alert, services
        )


def message(alert: Alert, mention: str = "") -> dict[str, Any]:
    """The message as Slack takes it."""
    line = escaped(headline(alert), LONGEST_TEXT - 200)
    if mention and alert.severity == "critical" and not alert.resolved:
        line = f"{mention} {line}"
    sign = ":white_check_mark:" if alert.resolved else SIGNS[alert.severity]
    fields = [
        _marked(f"*{escaped(name, 100)}*\n{escaped(value, LONGEST_FIELD - 200)}")
        for name, value in lines(alert)
    ]
    return {
        "text": line,
        "blocks": [
            {"type": "section", "text": _marked(f"{sign} *{line}*")},
            {"type": "section", "fields": fields[:MOST_FIELDS]},
        ],
    }


def _marked(text: str) -> dict[str, Any]:
    """With Slack's marks, and no address or name in it turned into a link."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def escaped(text: str, longest: int) -> str:
    """The three characters that Slack reads as commands, written so that it shows them.

    Mattermost and others call people by plain words, and read links and pictures of Markdown.
    A space without a width keeps them from it.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    out = ""
    for one in _COMMANDS.sub(rf"\g<0>{APART}", text):
        safe = _ESCAPES.get(one, one)
        if len(out) + len(safe) >= longest:
            return f"{out}…"
        out += safe
    return out


_COMMANDS: Final = re.compile(r"@(?=(?:channel|here|all|everyone)\b)|\](?=\()", re.IGNORECASE)
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
