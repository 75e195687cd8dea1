"""Alerts as JSON to any address, signed so that the receiver can tell who sent them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from llmgate_plugins.alerts import Alert, Severity
from llmgate_plugins.hookspecs import hookimpl
from llmgate_plugins.plugins.channels.persistence import Persistence
from llmgate_plugins.plugins.channels.posting import Post
from llmgate_plugins.plugins.channels.signing import ID, Secrets, secrets_of, sign
from llmgate_plugins.plugins.channels.wanted import Wanted
from llmgate_plugins.secrets import Secret
from llmgate_plugins.services import Services

__all__ = ["WebhookChannel"]


class WebhookChannel:
    """Posts alerts as JSON, by the Standard Webhooks specification.

    The body is `{"type": "alert.begun" | "alert.resolved", "timestamp": ..., "data": {...}}`,
    with the alert under `data`. The headers: `webhook-id` (the same when a notice is sent
    again), `webhook-timestamp` (of this try, Unix time) and `webhook-signature`
    ("v1," and HMAC-SHA256 of "id.timestamp.body" in base64; several, with a space between
    them, while a secret is changed). Receivers check it with `verify_signature`.

    Sent again, with growing waits, where there was no answer or one of 408, 425, 429 or
    5xx; `Retry-After` is kept. Redirects are not followed.

    Args:
        url: Where to; text or a reference (`env:NAME`), since many such addresses are secrets.
        secret: To sign with: "whsec_" and base64 as the specification has it, or any other
            text. Several while one is being replaced. None: not signed.
        min_severity: The least severe that is sent: "info", "warning" or "critical".
        kinds: Kinds that are sent; empty for all.
        headers: Further headers; their values may be secrets.
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
        secret: Secrets | None = None,
        min_severity: Severity = "info",
        kinds: Sequence[str] = (),
        headers: Mapping[str, str | Secret] | None = None,
        timeout: float = 10.0,
        attempts: int = 6,
        insecure: bool = False,
        ca_file: str | None = None,
        name: str = "WebhookChannel",
        persistence: Persistence | None = None,
    ) -> None:
        self.name = name
        self.wanted = Wanted(min_severity, kinds)
        self._post = Post(url, timeout=timeout, insecure=insecure, ca_file=ca_file)
        self._secrets = () if secret is None else secrets_of(secret)
        self._headers = dict(headers or {})
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
        body = json.dumps(payload(alert, services.clock.time()), separators=(",", ":")).encode()
        further = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in self._headers.items()
        }

        def send() -> None:
            signed: Mapping[str, str] = {ID: alert.id}
            if self._secrets:
                at = int(services.clock.time())
                signed = sign(body, id=alert.id, timestamp=at, secrets=self._secrets)
            self._post.send(body, {"content-type": "application/json", **further, **signed})

        self._persistence.deliver(send, alert, services)


def payload(alert: Alert, now: float) -> dict[str, Any]:
    """The body, before it is JSON."""
    at = datetime.fromtimestamp(now if alert.at is None else alert.at, UTC)
    return {
        "type": "alert.resolved" if alert.resolved else "alert.begun",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": alert.to_dict(),
    }
