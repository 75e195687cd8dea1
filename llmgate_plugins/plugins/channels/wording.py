"""How an alert is put into words, the same on every channel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from llmgate_plugins.alerts import Alert

__all__ = ["headline", "lines", "moment"]


def headline(alert: Alert) -> str:
    """One line: "Critical: the key is refused", or "Resolved: the key works again"."""
    word = "Resolved" if alert.resolved else alert.severity.capitalize()
    return f"{word}: {' '.join(alert.summary.split())}"


def lines(alert: Alert) -> Iterator[tuple[str, str]]:
    """(name, value) of everything there is to know besides the headline."""
    yield "kind", alert.kind
    yield "subject", alert.subject
    if alert.since is not None:
        yield "since", moment(alert.since)
    if alert.resolved and alert.at is not None:
        yield "until", moment(alert.at)
    for name, value in alert.facts.items():
        if value is not None:
            yield name.replace("_", " "), str(value)


def moment(at: float) -> str:
    """A time that people read, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
