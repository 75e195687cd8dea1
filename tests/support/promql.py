"""Which metrics and labels a PromQL expression names. No more of the language than that takes."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["labels_of", "metrics_of"]

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<range>\[[^\]]*\])|(?P<name>[A-Za-z_:][\w:]*)|(?P<other>\S)"""
)
_WORDS = {
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
}
_GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


def _read(expression: str) -> Iterator[tuple[str, str, str | None]]:
    """("metric", name, None), ("matcher", label, its metric), ("grouping", label, None) of each name."""
    tokens = [(match.lastgroup, match[0]) for match in _TOKEN.finditer(expression)]
    tokens = [token for token in tokens if token[0] not in ("string", "range")]
    metric: str | None = None
    closes = ""
    for place, (kind, text) in enumerate(tokens):
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "other":
            if text == "{":
                closes = "}"
            elif text == "(" and place and tokens[place - 1][1] in _GROUPINGS:
                closes = ")"
            elif text == closes:
                closes = ""
        elif kind == "name":
            if closes == "}":
                yield "matcher", text, metric
            elif closes == ")":
                yield "grouping", text, None
            elif text not in _WORDS and following != "(" and following not in _GROUPINGS:
                metric = text
                yield "metric", text, None


def metrics_of(expression: str) -> dict[str, set[str]]:
    """Metric -> labels it is matched by."""
    found: dict[str, set[str]] = {}
    for kind, name, metric in _read(expression):
        if kind == "metric":
            found.setdefault(name, set())
        elif kind == "matcher" and metric is not None:
            found[metric].add(name)
    return found


def labels_of(expression: str) -> set[str]:
    """Labels by which it groups or joins."""
    return {name for kind, name, _ in _read(expression) if kind == "grouping"}
