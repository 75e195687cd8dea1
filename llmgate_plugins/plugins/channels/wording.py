"""How an alert is put into words, the same on every channel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from llmgate_plugins.alerts import Alert

__all__ = ["headline", "lines", "moment", "one_line"]


def headline(alert: Alert) -> str:
    """One line: "Critical: the key is refused", or "Resolved: the key works again"."""
    word = "Resolved" if alert.resolved else alert.severity.capitalize()
    return f"{word}: {one_line(alert.summary)}"


def lines(alert: Alert) -> Iterator[tuple[str, str]]:
    """(name, value) of everything there is to know besides the headline; each is one line."""
    yield "kind", one_line(alert.kind)
    yield "subject", one_line(alert.subject)
    if alert.since is not None:
        yield "since", moment(alert.since)
    if alert.resolved and alert.at is not None:
        yield "until", moment(alert.at)
    for name, value in alert.facts.items():
        if value is not None:
            yield one_line(name.replace("_", " ")), one_line(str(value))


def one_line(text: str) -> str:
    """Without what could end a line and begin another, or speak to a terminal: names are callers'."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def moment(at: float) -> str:
    """A time that people read, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
