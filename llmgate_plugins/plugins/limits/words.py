"""Limits told to people: amounts, windows, who shares a count, when it begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from llmgate_plugins.types import NANO
from llmgate_plugins.windows import Calendar, Fixed, Rolling, Window, window_of

if TYPE_CHECKING:
    from llmgate_plugins.plugins.limits.limit import Kind, Limit
    from llmgate_plugins.scopes import Scope

__all__ = ["amount", "kind_of", "moment", "name_of", "span", "title", "told", "who"]

_UNITS: Final = (
    (86_400.0, "day", "d"),
    (3_600.0, "hour", "h"),
    (60.0, "minute", "min"),
    (1.0, "second", "s"),
)
_ONE: Final = {"requests": "request", "tokens": "token", "concurrency": "call at once"}
_THINGS: Final = {"requests": "requests", "tokens": "tokens", "concurrency": "calls at once"}


def amount(kind: Kind, value: int) -> str:
    """ "20 USD", "0.0031 USD", "60 requests", "5 calls at once"."""
    if kind != "budget":
        things = _THINGS[kind]
        return f"{value:,} {things if value != 1 else _ONE[kind]}"
    dollars = value / NANO
    places = 2
    while places < 9 and 0 < dollars * 10**places < 10:
        places += 1
    text = f"{dollars:,.{places}f}"
    return f"{text.removesuffix('.00')} USD"


def span(window: Window | None) -> str:
    """ "per day (Europe/Berlin)", "in any day", "per minute"; empty for no window."""
    match window:
        case None:
            return ""
        case Calendar(unit, zone):
            return f"per {unit} ({zone})"
        case Rolling(seconds):
            return f"in any {_length(seconds)}"
        case Fixed(seconds):
            return f"per {_length(seconds)}"


def _length(seconds: float) -> str:
    for length, name, short in _UNITS:
        if seconds == length:
            return name
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {short}"
    return f"{seconds:g} s"


def name_of(limit: Limit) -> str:
    """ "the budget of 20 USD per day (UTC)", "the limit of 5 calls at once"."""
    noun = "budget" if limit.kind == "budget" else "limit"
    told = f"the {noun} of {amount(limit.kind, limit.limit)} {span(window_of(limit.window))}".rstrip()
    return f"{told} for shadow calls" if limit.counted == "only" else told


def title(limit: Limit) -> str:
    """ "Budget of 20 USD per day (UTC) for each team, soft"."""
    noun = "Budget" if limit.kind == "budget" else "Limit"
    each = [f"{s.name} {s.only!r}" if s.only is not None else f"each {s.name}" for s in limit.scopes]
    whom = " and ".join(each) or "all calls"
    mode = "" if limit.mode == "hard" else ", in shadow" if limit.mode == "shadow" else ", soft"
    most = f"{amount(limit.kind, limit.limit)} {span(window_of(limit.window))}".rstrip()
    shadows = {"only": ", shadow calls alone", "with": ", shadow calls included"}
    return f"{noun} of {most} for {whom}{mode}{shadows.get(limit.shadow_calls or '', '')}"


def kind_of(limit: Limit) -> str:
    """ "budget for each team per day (UTC)", "soft limit of requests for tenant 'acme' per minute"."""
    mode = "" if limit.mode == "hard" else f"{limit.mode} "
    noun = "budget" if limit.kind == "budget" else f"limit of {_THINGS[limit.kind]}"
    each = [f"{s.name} {s.only!r}" if s.only is not None else f"each {s.name}" for s in limit.scopes]
    return f"{mode}{noun} for {' and '.join(each) or 'all'} {span(window_of(limit.window))}".rstrip()


def who(scopes: Sequence[Scope], values: Sequence[str | None]) -> str:
    """ "team 'search'", "all calls", "calls without a team"."""
    if not scopes:
        return "all calls"
    named = [
        f"{scope.name} {value!r}" for scope, value in zip(scopes, values, strict=True) if value is not None
    ]
    open_ = [scope.name for scope, value in zip(scopes, values, strict=True) if value is None]
    without = f"calls without a {' or '.join(open_)}" if open_ else ""
    return " with ".join(filter(None, (without, ", ".join(named))))


def told(limit: Limit, values: Sequence[str | None]) -> str:
    """ "the budget of 20 USD per day (UTC) of team 'search'"."""
    return f"{name_of(limit)} of {who(limit.scopes, values)}"


def moment(at: float, window: Window | None = None) -> str:
    """ "2026-11-29 00:00 CET": a moment in the window's zone, with seconds where it is short."""
    zone = window.zone if isinstance(window, Calendar) else "UTC"
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    short = isinstance(window, (Fixed, Rolling)) and window.seconds < 3_600
    return f"{local:%Y-%m-%d %H:%M:%S %Z}" if short else f"{local:%Y-%m-%d %H:%M %Z}"
